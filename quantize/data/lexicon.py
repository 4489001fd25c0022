"""The words for each class of sound: what captions are made of, and what decides whether a caption names an event."""

from __future__ import annotations

import re
from dataclasses import dataclass


@dataclass(frozen=True)
class Phrase:
    """Subject and verb of one way to say a sound: "a dog" + "barks" / "barking"."""

    subject: str
    present: str
    gerund: str

    @property
    def singular(self) -> bool:
        """Whether "is" goes with it: "barks", but "crash"."""
        return self.present.split()[0].endswith("s")


@dataclass(frozen=True)
class Sound:
    """A class of sound.

    Attributes:
        phrases: ways to say it, with an article where speech has one.
        names: words that name it; a caption that holds one names the event.
        countable: single sounds of it can be told apart and counted.
        burst_s: shortest and longest burst (seconds) that counts as one single sound.
    """

    phrases: tuple[Phrase, ...]
    names: frozenset[str]
    countable: bool = False
    burst_s: tuple[float, float] = (0.0, 0.0)


def _sound(phrases: str, names: str, countable: bool = False, burst_s: tuple[float, float] = (0.0, 0.0)) -> Sound:
    parsed = []
    for line in phrases.strip().splitlines():
        subject, present, gerund = (part.strip() for part in line.split("|"))
        parsed.append(Phrase(subject, present, gerund))
    return Sound(tuple(parsed), frozenset(names.split()), countable, burst_s)


LEXICON: dict[str, Sound] = {
    "dog_bark": _sound(
        """
        a dog | barks | barking
        a dog | is barking | barking
        the dog | barks | barking
        a dog | gives a bark | giving a bark
        a dog | lets out a bark | letting out a bark
        a hound | barks | barking
        some dog | woofs | woofing
        a canine | barks | barking
        a dog | barks sharply | barking sharply
        """,
        "dog dogs bark barks barking hound canine",
        countable=True,
        burst_s=(0.08, 0.62),
    ),
    "rain": _sound(
        """
        rain | falls | falling
        rain | is falling | falling
        rain | patters | pattering
        rain | pours down | pouring down
        raindrops | patter | pattering
        rain | comes down | coming down
        a rain shower | drums down | drumming down
        drops of rain | splash down | splashing down
        rainfall | rustles on the ground | rustling on the ground
        a downpour of rain | spatters | spattering
        water drops of rain | tap on a surface | tapping on a surface
        a rainstorm | sprinkles and splatters | sprinkling and splattering
        rain | drizzles | drizzling
        """,
        "rain rains raining rainfall raindrops rainstorm",
    ),
    "sea_waves": _sound(
        """
        waves | crash on the shore | crashing on the shore
        waves | roll in | rolling in
        ocean waves | break on the beach | breaking on the beach
        the sea | washes over the shore | washing over the shore
        waves | wash ashore | washing ashore
        the surf | rolls in | rolling in
        ocean surf | rushes and hisses | rushing and hissing
        waves | lap at the beach | lapping at the beach
        the ocean | roars against the coast | roaring against the coast
        ocean water | surges up the beach | surging up the beach
        foaming waves | swash and retreat | swashing and retreating
        breaking waves | rumble along the coast | rumbling along the coast
        the tide | sweeps over the sand of a beach | sweeping over the sand of a beach
        """,
        "wave waves sea ocean surf shore ashore beach coast tide",
    ),
    "baby_cry": _sound(
        """
        a baby | cries | crying
        a baby | is crying | crying
        an infant | cries | crying
        a baby | wails | wailing
        a baby | fusses and cries | fussing and crying
        a small baby | bawls | bawling
        a crying infant | whimpers and sobs | whimpering and sobbing
        an unhappy baby | screams | screaming
        an upset infant | howls | howling
        a newborn baby | squalls | squalling
        a baby | weeps bitterly | weeping bitterly
        """,
        "baby infant babies cry cries crying",
    ),
    "clock_tick": _sound(
        """
        a clock | ticks | ticking
        a clock | is ticking | ticking
        the clock | ticks away | ticking away
        a clock | ticks steadily | ticking steadily
        a clock | goes tick tock | going tick tock
        the second hand of a clock | clicks along | clicking along
        a mechanical clock | taps out the seconds | tapping out the seconds
        a clockwork | beats regularly | beating regularly
        a clock | marks the passing time | marking the passing time
        """,
        "clock clocks clockwork tick ticks ticking",
    ),
    "sneeze": _sound(
        """
        a person | sneezes | sneezing
        someone | sneezes | sneezing
        somebody | sneezes | sneezing
        someone | lets out a sneeze | letting out a sneeze
        a sneeze | bursts out | bursting out
        someone | sneezes out loud | sneezing out loud
        a loud achoo | is sneezed | being sneezed
        a human sneeze | explodes | exploding
        someone | sneezes suddenly | sneezing suddenly
        """,
        "sneeze sneezes sneezing sneezed achoo",
        countable=True,
        burst_s=(0.2, 1.0),
    ),
    "helicopter": _sound(
        """
        a helicopter | flies | flying
        a helicopter | is flying | flying
        helicopter blades | whir | whirring
        helicopter blades | beat the air | beating the air
        a chopper | flies | flying
        the rotor of a helicopter | thumps | thumping
        a helicopter | hums and throbs | humming and throbbing
        helicopter rotors | chop through the air | chopping through the air
        the engine of a helicopter | drones | droning
        a helicopter | clatters along | clattering along
        an aircraft with a rotor | pulses | pulsing
        a passing helicopter | chugs | chugging
        spinning rotor blades | pound | pounding
        """,
        "helicopter helicopters chopper rotor rotors",
    ),
    "chainsaw": _sound(
        """
        a chainsaw | runs | running
        a chainsaw | is running | running
        a chainsaw | buzzes | buzzing
        the motor of a chainsaw | roars | roaring
        a chainsaw | whines | whining
        someone | uses a chainsaw | using a chainsaw
        a power saw | rattles and snarls | rattling and snarling
        a chainsaw | growls and snarls | growling and snarling
        the engine of a chainsaw | revs | revving
        a motor saw | grinds | grinding
        a noisy chainsaw | screeches | screeching
        a chainsaw engine | idles and races | idling and racing
        a chainsaw motor | sputters | sputtering
        """,
        "chainsaw chainsaws saw",
    ),
    "rooster": _sound(
        """
        a rooster | crows | crowing
        a rooster | is crowing | crowing
        the rooster | crows | crowing
        a cockerel | crows | crowing
        a rooster | calls out cock a doodle doo | calling out cock a doodle doo
        a cockerel | lets out a crow | letting out a crow
        a rooster | greets the day with a crow | greeting the day with a crow
        a cock | crows | crowing
        a male chicken | crows shrilly | crowing shrilly
        """,
        "rooster roosters cockerel cock crow crows crowing",
        countable=True,
        burst_s=(1.4, 3.2),
    ),
    "fire_crackling": _sound(
        """
        a fire | crackles | crackling
        a fire | is crackling | crackling
        flames | crackle and pop | crackling and popping
        a campfire | crackles | crackling
        a fire | snaps and pops | snapping and popping
        burning logs | crackle | crackling
        an open fire | hisses and spits | hissing and spitting
        flames | flicker and crackle | flickering and crackling
        a fireplace | crackles | crackling
        a bonfire | sizzles and cracks | sizzling and cracking
        dry twigs | burn with crackles | burning with crackles
        embers of a fire | sputter softly | sputtering softly
        """,
        "fire fires flames campfire bonfire fireplace logs embers crackle crackles crackling",
    ),
}
LABELS: tuple[str, ...] = tuple(sorted(LEXICON))


def named_events(caption: str) -> list[str]:
    """Labels of the events that a caption names, in the order of their first naming.

    An event is named when a word of its class's lexicon occurs.
    """
    words = re.findall(r"[a-z]+", caption.lower())
    first: dict[str, int] = {}
    for position, word in enumerate(words):
        for label, sound in LEXICON.items():
            if word in sound.names:
                first.setdefault(label, position)
    return sorted(first, key=lambda label: first[label])
