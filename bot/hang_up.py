"""How a connection between processes of this machine ends."""

import asyncio

PATIENCE_S = 1.0


async def hang_up(writer: asyncio.StreamWriter) -> None:
    """Close a connection. The other end has a second to read what was said last; if it has stopped reading that is
    lost, for it must not keep whoever hangs up from ending.
    """
    writer.close()
    try:
        async with asyncio.timeout(PATIENCE_S):
            await writer.wait_closed()
    except TimeoutError:
        writer.transport.abort()
    except OSError:
        pass  # it broke: then it is over, too
