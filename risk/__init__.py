"""The law that stands between a wish and an order: ledger, limits, sizing, execution, gate, ladder."""
