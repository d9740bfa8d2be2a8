"""Whether a post is English: the shipped model has read nothing else, and what it says of other languages is noise.

The rule, cheap and in doubt for English (slang, tickers and names have no grammar to go by):

1. Web addresses, hashtags, cashtags and handles don't count; a text without other letters is English.
2. Mostly letters of another script than Latin (with at least three of them): not English.
3. Function words decide between languages that write Latin: not English when those of one other language outnumber the
   English ones, are two or more (a word with a letter that English hasn't may stand for one) and one of them is no
   English word, name or ticker ("para", not "la"). So are no English word and three with such letters (or two and no
   more than twice as many words).
"""

from __future__ import annotations

import re
from typing import Final

from signals.spacing import without_links

_TAGGED = re.compile(r"[#@$][\w$@#]+")
_LETTERS = re.compile(r"[^\W\d_]+")
_MARKED = re.compile("[\u00df-\u00f6\u00f8-\u017f\u01a1\u01b0\u0219\u021b\u1ea0-\u1ef9]")
_READ_CHARS: Final = 2_000
"""A language shows in the first few hundred words."""
_SCRIPT_LETTERS_MIN: Final = 3
_MARKED_WORDS_MIN: Final = 3


def _words(block: str) -> frozenset[str]:
    return frozenset(block.split())


_ENGLISH: Final = _words("""
    the be to of and a in that have i it for not on with he as you do at this but his by from they we say her she or
    an will my one all would there their what so up out if about who get which go me when make can like time no just
    him know take into your good some could them see other than then now look only come its over think also back
    after use how our work first well way even new want because any these give day most us is are was were been has
    had did does more very off why where here still again next never always today down buy sell price
""")

_SHARED: Final = _words("""
    a ai al all also am an as at be by co com come con da de den di die do dos e ed el en era et ha hat he her his i
    if il in is it kan ko la le les lo ma man may me men mi mo na ne new no not o of on or os out over per po por
    pro s sa se si sin so sol son ta te ten to tu um un up us use v van w war was we wie will y you z
""")
"""Words that are English too, or parts of names and addresses, or tickers: they tell nothing alone."""

_TABLE: Final = """
spanish: el la los las un una unos del al es son está están que qué por para con sin su sus como cómo más pero muy
spanish: hoy ya lo le les se si sí nos este esta esto estos ese esa eso hay ser fue han tiene todo todos cuando
spanish: donde desde hasta entre sobre porque también años año hace precio ahora mi tu y o feliz cumpleaños vamos
spanish: gracias noticias contra cada solo sólo puede según
portuguese: o os um uma uns umas da das dos na nas nos em no ao aos é são está que por para sem seu sua como mais mas
portuguese: muito hoje já se não sim este esta isso esse essa há ser foi tem todo quando onde desde até entre sobre
portuguese: porque também ano anos preço agora meu pela pelo você e melhor venda
french: le les un une des du de la au aux et est sont être que qui quoi pour par avec sans son sa ses leur comme
french: plus mais très dans sur se si nous vous ils elle il je tu ce cet cette ces pas ne fait tout tous quand où
french: depuis entre parce aussi ans prix maintenant votre notre à y vers rien jour
german: der die das ein eine einen einem eines und ist sind war nicht mit von vom zu zum zur für auf auch aus bei
german: nach über unter wie wird werden wurde sich ich du er sie es wir ihr mein dein kein keine noch nur schon
german: dass wenn oder aber hat haben kann mehr heute jetzt seit den dem des im am als um so
italian: il lo la gli le un uno una di del della dei delle degli al alla ai che chi per con senza è sono non come
italian: più ma molto oggi già si se questo questa questi quello ha hanno essere stato tutto tutti quando dove dal
italian: dalla nel nella sul sulla anche anni prezzo ora mio tuo e ed o
dutch: de het een en van is zijn niet met voor op aan om te dat die deze dit er maar ook als bij naar uit over
dutch: nog wel geen wat wie waar hoe wij we ik je jij hij zij ze hun mijn wordt worden heeft hebben kan meer
dutch: vandaag nu sinds
turkish: ve bir bu için ile de da çok daha en ne mi mı ama gibi olan olarak var yok ben sen biz siz onlar şu o ki
turkish: değil kadar sonra önce bugün şimdi her hem ya veya ise olur oldu yeni göre üzerine dolar fiyat fiyatı
turkish: icin arkadaşlar teşekkürler lazım lazim artık artik
indonesian: yang dan di ini itu untuk dengan dari pada tidak ada akan bisa juga sudah saya kamu kita mereka adalah
indonesian: atau ke karena oleh lebih hari harga dalam bagi apa belum masih
polish: i w na z do nie się to jest że jak o po od za przez dla czy ale tak już co są był może być tylko jego jej
polish: ich dziś teraz który która które oraz ten ta te cena bardzo października roku
filipino: ang ng mga sa na ay at ko mo siya kami tayo sila ito iyan kung para hindi naman lang din rin po
scandinavian: och att det som en på är av för med den till inte om ett han men var jag så nu og er ikke jeg til af fra
scandinavian: har vi kan skal være blir
vietnamese: và của là có cho không được một những này với các người trong đã để khi
romanian: și în la cu pe de că nu este sunt un o din pentru mai prin care sau
czech: a v na se je že s z do to ale jak za by jsem jsou pro tak co už nebo při
"""
"""Frequent words of the languages that crypto posts are written in."""


def _other_languages() -> tuple[tuple[frozenset[str], frozenset[str]], ...]:
    """For each language its telling words, and all of them that aren't English."""
    languages: dict[str, set[str]] = {}
    for line in _TABLE.strip().splitlines():
        language, _, words = line.partition(":")
        languages.setdefault(language, set()).update(words.split())
    return tuple(
        (_words(" ".join(words)) - _SHARED - _ENGLISH, _words(" ".join(words)) - _ENGLISH)
        for words in languages.values()
    )


_OTHERS: Final = _other_languages()
_TELLING: Final = frozenset().union(*(telling for telling, _ in _OTHERS))


def is_english(normal_text: str) -> bool:
    """Whether a text in normal form (`signals.text.normalise`) is English, or too short to say.

    >>> is_english("BTC to the moon"), is_english("el precio del bitcoin no para"), is_english("биткоин растёт")
    (True, False, False)
    """
    text = without_links(normal_text[:_READ_CHARS])
    if "#" in text or "@" in text or "$" in text:
        text = _TAGGED.sub(" ", text)
    if not text.isascii() and _is_other_script(text):
        return False
    words = set(_LETTERS.findall(text.lower()))
    marked = 0 if text.isascii() else sum(_MARKED.search(word) is not None for word in words)
    if marked < 2 and _TELLING.isdisjoint(words):
        return True
    english = len(words & _ENGLISH)
    if not english and marked >= min(_MARKED_WORDS_MIN, max(2, len(words) / 2)):
        return False
    for telling, known in _OTHERS:
        found = len(words & known)
        if found > english and found + min(marked, 1) >= 2 and not telling.isdisjoint(words):
            return False
    return True


def _is_other_script(text: str) -> bool:
    """Whether most letters are of another script, an ideograph or a syllable weighing as three."""
    latin = other = 0
    for word in _LETTERS.findall(text):
        if word.isascii() or word[0] < "\u0250":
            latin += len(word)
        elif word[0] < "\u2e80":
            other += len(word)
        else:
            other += 3 * len(word)
    return other >= _SCRIPT_LETTERS_MIN and other > latin
