"""English captions that tell of people talking.

What counts is a voice that carries words: speech, conversation, whispers, shouts, announcements, narration, reading
aloud, song, rap and prayer, also from a loudspeaker, a telephone or a machine ("a robotic voice"), and of a parrot.

What does not count is a voice without words: laughter, crying, screaming, cheering, coughing, sneezing, snoring,
humming, whistling; footsteps and whatever else people do; and a radio or television of which nothing more is told.

Birds sing, squirrels chatter and brooks murmur: such verbs count unless the caption names who is known for them and no
person. A doubt counts as speech.
"""

from __future__ import annotations

import re

_WORDS = re.compile(r"[^\W\d_]+(?:['’][^\W\d_]+)?")

_SPEECH = re.compile(
    r"""
    speech(?:es)? | speak(?:s|ing|er|ers)? | spoke(?:n)? | talk\w* | voice(?:s|d|over|overs)? | voicemails?
    | convers(?:e|es|ed|ing|ation|ations|ational) | dialog(?:s|ue|ues)? | monolog(?:s|ue|ues)?
    | chats? | chatt(?:ed|ing|y) | gossip\w*
    | sa(?:y|ys|ying|id) | tell(?:s|ing)? | told | utter(?:s|ed|ing|ance|ances)?
    | words? | sentences? | phrases?
    | whisper\w* | shout\w* | yell(?:s|ed|ing)? | exclaim\w*
    | announc\w* | narrat\w* | commentat\w* | commentary | broadcast\w* | newscast\w* | podcast\w* | audiobooks?
    | newsreader\w* | presenter\w* | reporter\w* | interview\w* | lectur\w* | sermon\w* | preach\w*
    | recit\w* | pray | prays | prayed | praying | prayers? | storytell\w*
    | discuss\w* | debat(?:e|es|ed|ing|er|ers) | argu(?:e|es|ed|ing|ment|ments) | quarrel\w* | bicker\w*
    | ask(?:s|ed|ing)? | answer(?:s|ed|ing)? | repl(?:y|ies|ied|ying) | question(?:s|ed|ing)?
    | greet\w* | scold\w* | swear(?:s|ing)? | curs(?:e|es|ed|ing) | explain\w* | instruct\w* | hubbub
    | singers? | choir\w* | chor(?:us|uses|al|ale) | lullab\w* | rapper\w* | yodel\w* | karaoke | opera(?:s|tic)?
    | vocalists? | cappella | hymns?
    """,
    re.VERBOSE,
)
"""Words of which each tells of people talking, whatever else the caption says."""

_IDIOMS = re.compile(r"\b(?:hard to tell|(?:cannot|can't) be told|nothing (?:here )?explains)\b")
"""What says that a sound is unknown, in words that else tell of speech."""

_ALOUD = re.compile(r"\b(?:read|reads|reading|counts?|counting|counted)\s+(?:\w+\s+){0,4}?(?:aloud|out)\b")
_CALLS_OUT = re.compile(r"\bcall(?:s|ed|ing)?\s+out\b")

_BIRDS = r"""
    \w*birds? | robins? | larks? | nightingales? | finch(?:es)? | canar(?:y|ies) | sparrows? | wrens? | thrush(?:es)?
    | tits? | cuckoos? | doves? | pigeons? | crows? | ravens? | magpies? | jays? | geese | goose | ducks? | swans?
    | \w*gulls? | owls? | eagles? | hawks? | hens? | chickens? | chicks? | roosters? | cocks? | turkeys? | peacocks?
    | loons? | herons? | crickets? | cicadas? | grasshoppers? | insects? | frogs? | toads? | whales? | wildlife
    """
_BEASTS = r"""
    dolphins? | seals? | squirrels? | chipmunks? | monkeys? | apes? | gibbons? | chimpanzees? | cats? | kittens? | dogs?
    | pupp(?:y|ies) | wol(?:f|ves) | coyotes? | fox(?:es)? | cows? | calves | bulls? | sheep | lambs? | goats? | pigs?
    | horses? | elk | deer | elephants? | lions? | rats? | mice | mouse | animals? | bats?
    """
_SHARED = tuple(
    (re.compile(verbs, re.VERBOSE), re.compile(others, re.VERBOSE))
    for verbs, others in (
        (r"s[au]ng | sings | sing | singing | chants? | chanting | chanted", _BIRDS),
        (r"chatter(?:s|ed|ing)?", rf"{_BIRDS} | squirrels? | chipmunks? | monkeys? | apes? | teeth"),
        (
            r"murmur\w* | mutter\w* | mumbl\w* | babbl\w*",
            r"streams? | brooks? | creeks? | rivers? | water | fountains?",
        ),
        (r"call(?:s|ed|ing)? | vocal\w* | communicat\w*", rf"{_BIRDS} | {_BEASTS} | (?:tele)?phones?"),
        (r"raps? | rapped | rapping", r"doors? | windows? | wood\w* | tables?"),
    )
)
"""Verbs that others than people are known for, and those others: such a verb tells of people talking unless one of
them, and nobody else, is in the caption."""

_SONG = re.compile(
    r"\b(?<!bird )(?<!birds )(?<!bird's )(?<!birds' )songs?\b(?! of (?:a |the |many |small )?\w*birds?\b)"
)
"""A song is of people unless it is of birds, and plays from a radio beside them."""

_PEOPLE = re.compile(
    r"""
    m[ae]n | wom[ae]n | male | males | female | females | person | persons | people | someone | somebody | everyone
    | child | children | kids? | boys? | girls? | bab(?:y|ies) | infants? | toddlers? | adults? | teenagers? | crowds?
    | audience | human | humans | guys? | lad(?:y|ies) | gentlem[ae]n | teachers? | students? | he | she | they | group
    | vendors? | parents? | mother | father | priest | monks? | soldiers? | players?
    """,
    re.VERBOSE,
)


def tells_of_speech(caption: str) -> bool:
    """Whether an English caption tells of people talking; see the module for what counts."""
    text = _IDIOMS.sub(" ", caption.casefold())
    if _ALOUD.search(text) or _CALLS_OUT.search(text):
        return True
    words = [word.partition("'")[0].partition("’")[0] for word in _WORDS.findall(text)]
    if any(_SPEECH.fullmatch(word) for word in words):
        return True
    if _SONG.search(text):
        return True
    people = any(_PEOPLE.fullmatch(word) for word in words)
    for verbs, others in _SHARED:
        if any(verbs.fullmatch(word) for word in words) and (people or not any(map(others.fullmatch, words))):
            return True
    return False
