"""Words of the fluency check: the closed classes in full, the commonest nouns, verbs and adjectives of captions.

Listed are base forms; :mod:`edge_aac.fluency.english.readings` knows their endings and guesses what is not here.
"""

from __future__ import annotations


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


# Things that make sound, and are none: a caption that only names one of them lacks a verb.
SOURCES = _words("""
    accordion actor adult aeroplane aircraft airplane ambulance animal announcer artist athlete audience aunt baby
    band barber basketball bat bear bee bicycle bike bird blackbird blender boat boss boy brother bull bulldozer bus
    butterfly calf camera canine car carpenter cat cellist cello chainsaw chef chick chicken child chimpanzee choir
    chopper clarinet clock clown coach cockerel commentator computer conductor congregation couple cow coyote crane
    cricket crow crowd cuckoo customer dad daughter deer dentist device doctor dog dolphin donkey door dove drawer
    drill drone drummer dryer duck eagle elephant engine escalator excavator fan father faucet female fisherman
    flute fly forklift fox freighter fridge friend frog gate gentleman girl goat goldfinch goose gorilla gramophone
    grandfather grandmother group guard guest guitar gun guy hairdryer hammer hamster harmonica harp hawk helicopter
    hen hippo horse hound human infant insect jackhammer jeep jet journalist kangaroo kettle keyboard kid kitten
    lady lamb lawnmower lawyer lecturer leopard librarian lighter lion locomotive lorry machine magpie maid male man
    mechanic microphone microwave mom monk monkey moose moped mosquito mother motor motorbike motorboat motorcycle
    mouse mower musician narrator neighbor newborn nightingale nurse object officer orchestra organ owl owner panda
    parent parrot passenger peacock pedestrian penguin people percussionist person phone pianist piano pig pigeon
    pilot plane player policeman pony preacher priest printer professor projector pump puppet puppy rabbit raccoon
    radio rat raven referee refrigerator reporter robin robot rooster rotor runner sailor salesman saw saxophone
    scanner scooter seagull seal sheep ship singer sister skateboard skateboarder skater snake son sparrow speaker
    speedboat squirrel stapler stranger stroller student submarine subway swan switch tambourine tap taxi teacher
    teen teenager telephone television tiger tire toaster toddler toilet tool tortoise toy tractor trailer train
    tram trolley trombone truck trumpet tuba turkey turtle typewriter ukulele vacuum van vehicle vendor violin
    violinist wagon waiter waitress walker washer whale wheelchair wolf woman woodchuck woodpecker worker xylophone
    yacht youth zebra zipper
""")
# What is heard as such: a caption may just name it.
SOUNDS = _words("""
    achoo activity air alarm ambience announcement applause bang bell blast breath breathing burst cheering chime
    chord clap commotion conversation creek crunch dialogue din doorbell downpour echo effect explosion fire
    firework flame footstep gunfire gunshot gust hail hiss horn laughter leaf lightning melody motion music noise
    nothing ocean pulse rain raindrop rainfall rainstorm river screech sea shot shower silence siren song sound
    speech splash squeal static steam storm stream surf thunder thunderstorm tide tone traffic tune vibration volume
    water waterfall wave wind
""")
# Places and materials; listed because they would else be taken for verbs or adjectives too.
OTHER_NOUNS = _words("""
    area back background beach board bottle bottom bowl box breeze bucket building chair city coast coin cold container
    court cup cut dark desk dish distance end feet first floor food foot foreground forest front glass ground hall
    hand highway hive home house inside key kitchen language last left metal night office outside paper park party
    place plastic plate pond pot rest right road roof room second set shoe shore side sink snow stage station stove
    street surface table tank tent third time tin top town track tree underground voice wall well wheel window wood
    yard
""")
# Nouns whose phrases are adverbs: "three times", "all day", "some way off".
TIMES = _words("time second minute moment hour day night beat bit lot little instant way")
PLURAL_FORMS = {
    "men": "man", "women": "woman", "children": "child", "mice": "mouse", "geese": "goose", "wolves": "wolf",
    "leaves": "leaf", "people": "people", "feet": "foot", "police": "people",
}  # fmt: skip
EITHER_NUMBER = _words("sheep deer fish aircraft")
SINGULAR_IN_S = _words("series gas glass glasses grass brass class bass hiss kiss buzz mess dress press lens walrus")

# What living things do with their voices: without an object, and not "in", "on" or "by".
VOICE_VERBS = _words("""
    babble bark bawl bellow bleat bray burp caw chat chatter cheep chirp chuckle cluck converse coo cough croak crow
    cry fuss giggle groan growl grunt gurgle hoot howl laugh meow mew moan moo mumble murmur mutter neigh oink pant
    purr quack scream screech shout sigh sneeze sniff sniffle snore snort sob speak squall squawk talk tweet wail
    weep whimper whine whinny whisper woof yap yawn yell yelp yip
""")
# What things do to be heard, without an object.
NOISE_VERBS = _words("""
    blare bubble burble buzz chime chug clang clank clatter clop clunk crackle creak crunch drip drizzle drone echo
    explode fizz flicker hiss patter ping pop pulse resonate reverberate roar rumble rustle sizzle snap splatter
    splutter sputter squeak swish swoosh thrum thud thump tick tinkle toll trickle twang vibrate whir whirr whiz
    whoosh
""")
# Verbs that are nouns as well, like those above ("three knocks"), but may have an object.
STRIKE_VERBS = _words("""
    bang beat beep blast blow bounce bump call chant cheer clap clash click clink crack crash drop drum flap hammer
    hit honk hoof hum jingle knock pound puff rattle rev ring scrape scratch shake shuffle slam slap smack sound
    splash spray squeal step stomp stroke swing tap tear throb toot wash whack whistle
""")
# Verbs without an object that are seldom nouns.
STILL_VERBS = _words("appear arrive come die exist fall happen occur race roll scurry sit stand travel wait")
ACTION_VERBS = _words("""
    accelerate accompany announce answer applaud approach argue ask assemble become begin bite boil boo brake break
    breathe brush build burn burst carry chase chew chop clean clear climb close collide comfort continue cook count
    crawl cross crumple crush cut dance decelerate describe dig discuss drag drain draw dribble drill drink drive
    eat emerge end engage enter fade feed fight fill find finish fire flick flip float flow flush fly follow fry
    gallop gasp get give go grind grow hold hover idle imitate increase inhale interact jump keep land lap lead
    leave lift listen load lock look lower mix move narrate open operate pass pay pelt perform pick play pluck
    plunge pour practice pray preach prepare press process produce pull pump push put raise read recite refill
    release repeat reply respond retreat reverse ride rise rub run rush sail saw say scrub sew shatter shift shoot
    shut sing skim skip slide slow smash snarl speed spin spit squeeze start stir stop strike strum stumble stutter
    surge swash sway sweep swim swirl take tell throw tighten toss touch trot tumble tune turn twist type use utter
    vary vocalize wake walk warm weave wipe work wrap write yodel zip zoom
""")
CAUSE_VERBS = _words("cause have hear help let make see watch feel")
SAY_VERBS = _words("announce answer ask explain reply say tell")
NO_NOUNS = _words("""
    appear arrive become begin converse die enter exist explode fall give go happen hear let listen make occur resonate
    say see sing speak tell vibrate
""")
PAST_FORMS = _words("""
    ate beat beaten began begun bent bit bitten blew blown bound broke broken brought built burnt burst came cast
    caught chosen crept cut dealt done drank drawn drew driven drove eaten fallen fed fell felt flew flown found
    froze frozen gave given gone got grew ground grown heard held hidden hit hung hurt kept known laid led left let
    lit lost made met paid put ran rang read ridden risen rode rose rung said sang sat sent set sewn shaken shook
    shot shown shut slept slid split spoke spoken spread spun stood struck stuck sung swam swept swollen swung taken
    taught threw thrown told took tore torn went wept woke woken won worn wound written wrote
""")

DEFINITE = "definite"
WHOLE = "whole"
"""In place of a number: of "all" and "both", which stand before an article."""
ARTICLES = {
    **dict.fromkeys(_words("a an this every each"), "s"),
    **dict.fromkeys(_words("these those"), "p"),
    **dict.fromkeys(_words("the my your his her its our their whose"), DEFINITE),
}
MANY = _words("""
    dozens eight eleven few five four hundreds many multiple nine numerous seven several six ten thousands three
    twelve two various
""")
QUANTIFIERS = {
    **dict.fromkeys(_words("one another each"), "s"),
    **dict.fromkeys(_words("some any no other enough more most much"), ""),
    **dict.fromkeys(_words("all both half such either neither"), WHOLE),
    **dict.fromkeys(MANY, "p"),
}
SINGULAR_PRONOUNS = _words("""
    anybody anyone anything everybody everyone everything her herself him himself it itself nobody nothing somebody
    someone something that these this those what
""")
PLURAL_PRONOUNS = _words("them us me themselves others ourselves")
PERSONAL_PRONOUNS = _words("he i she they we you")
AUXILIARIES = {
    **dict.fromkeys(_words("is was has does isn't doesn't"), "s"),
    **dict.fromkeys(_words("are were have do aren't don't am"), "p"),
    **dict.fromkeys(_words("can could will would may might must should had did cannot"), ""),
}
PREPOSITIONS = _words("""
    aboard against along alongside amid amidst among amongst at beneath beside besides between despite during for
    from into like near onto per plus than toward towards under upon via within without
""")
PARTICLES = _words("""
    about above across along around back behind below beyond down inside off opposite out outside over past round
    throughout underneath up
""")
# Prepositions that end a sentence only after verbs of motion and handling: "walks in", "switches on".
LOOSE_PARTICLES = _words("by in on through")
ADVERBS = _words("""
    abroad abruptly afar afterward afterwards again ahead alone along aloud also altogether anymore apart around
    ashore aside away back backwards close closer downhill downstairs downstream either elsewhere far faraway
    farther first forth forward forwards further halfway here home indoors inside instead later left louder
    meanwhile midway much nearby next nonstop off offscreen once outdoors outside overhead right shortly sideways
    sometimes soon straight there thereafter throughout today together too twice underfoot underground underneath
    underwater uphill upstairs upstream well
""")
MANNER_ADVERBS = _words("""
    almost always even ever fast hard just less loud maybe more most never not often only perhaps quick quite rather
    simultaneously slightly slow so somewhat still very
""")
ADJECTIVES = _words("""
    adult alive asleep audible awake big busy clear close cold constant continuous deep different distant dry dull
    eerie elderly electric electronic empty faint fast female gentle happy hard harsh heavy high hollow hot huge
    human idle indoor intense large last light little long loud low male mechanical medium metal metallic middle
    mild moderate muffled natural noisy old open outdoor own paved plastic present quick quiet rapid ready rhythmic
    rough same second sharp short shrill shut silent single slight slow small smooth soft solid squeaky steady
    strong sudden tall thick thin third tight tin tiny upset vintage warm weak wet white windy wooden young
""")
SUBORDINATORS = _words("while whilst as wherever when whenever because although though if unless whereas")
TEMPORALS = _words("before after until till since")
RELATIVES = _words("that what whatever whichever whoever which who whom whose where how why")
# Nouns that only say how many of something there are, as in "a group of men".
MEASURES = _words("group couple pair number bunch lot crowd pack flock herd swarm variety handful few lots dozen")

NOUNS_IN_ING = _words("thing string ceiling morning evening king ring spring wing something nothing anything building")
NOT_PAST = _words("bed shed red seed reed weed speed feed need bleed breed sled")
NOT_ADVERBS = _words("fly family supply assembly lovely lonely lively friendly early daily belly jelly bully reply")
