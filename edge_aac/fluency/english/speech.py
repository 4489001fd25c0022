"""English captions that tell of people talking.

What counts is a voice that carries words: speech, conversation, whispers, shouts, announcements, narration, reading
aloud, song, rap and prayer, also from a loudspeaker, a telephone or a machine ("a robotic voice"), and of a parrot.

What does not count is a voice without words: laughter, crying, screaming, cheering, coughing, sneezing, snoring,
humming, whistling; footsteps and whatever else people do; and a radio or television of which nothing more is told.

Birds sing, squirrels chatter and brooks murmur: such verbs count unless the caption names an animal or a thing that is
known for them and nobody else. A doubt counts as speech.
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
    | choir\w* | chor(?:us|uses|al|ale) | lullab\w* | rapper\w* | yodel\w* | karaoke | opera(?:s|tic)? | vocalists?
    | (?:a\ )?cappella | hymns?
    """,
    re.VERBOSE,
)
"""Words of which each tells of people talking, whatever else the caption says."""

_ALOUD = re.compile(r"\b(?:read|reads|reading|counts?|counting|counted)\s+(?:\w+\s+){0,4}?(?:aloud|out)\b")
_CALLS_OUT = re.compile(r"\bcall(?:s|ed|ing)?\s+out\b")

_SHARED = re.compile(
    r"""
    s[iau]ng | sings | singing | singers? | songs? | chant(?:s|ed|ing)? | chatter(?:s|ed|ing)?
    | murmur\w* | mutter\w* | mumbl\w* | babbl\w* | call(?:s|ed|ing)? | vocal\w*
    | rap | raps | rapped | rapping | communicat\w* | cr(?:y|ies)\ out
    """,
    re.VERBOSE,
)
"""Words that tell of people talking unless one of :data:`_OTHERS`, and nobody else, is in the caption."""

_OTHERS = re.compile(
    r"""
    birds?\w* | birdsong | songbirds? | \w*birds? | robins? | larks? | nightingales? | finch\w* | canar(?:y|ies)
    | sparrows? | wrens? | thrush(?:es)? | tits? | cuckoos? | doves? | pigeons? | crows? | ravens? | magpies? | jays?
    | geese | goose | ducks? | swans? | gulls? | seagulls? | owls? | eagles? | hawks? | hens? | chickens? | chicks?
    | roosters? | cocks? | turkeys? | peacocks? | loons? | herons? | crickets? | cicadas? | grasshoppers? | insects?
    | frogs? | toads? | whales? | dolphins? | seals? | squirrels? | chipmunks? | monkeys? | apes? | gibbons?
    | chimpanzees? | cats? | kittens? | dogs? | pupp(?:y|ies) | wolf | wolves | coyotes? | fox | foxes | cows? | calves
    | bulls? | sheep | lambs? | goats? | pigs? | horses? | elk | deer | elephants? | lions? | rats? | mice | mouse
    | animals? | wildlife | bats?
    | stream | streams | brooks? | creeks? | rivers? | water | waves? | wind | sea | teeth | doors? | windows?
    | fountains? | phones? | telephones? | kettles?
    """,
    re.VERBOSE,
)

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
    text = caption.casefold()
    if _ALOUD.search(text) or _CALLS_OUT.search(text):
        return True
    words = [word.partition("'")[0].partition("’")[0] for word in _WORDS.findall(text)]
    if any(_SPEECH.fullmatch(word) for word in words):
        return True
    if not any(_SHARED.fullmatch(word) for word in words):
        return False
    return not any(_OTHERS.fullmatch(word) for word in words) or any(_PEOPLE.fullmatch(word) for word in words)
