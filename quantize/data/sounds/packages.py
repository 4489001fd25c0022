"""The Debian 12 packages that sound is collected from, and what was decided of some of them by hand."""

from __future__ import annotations

from quantize.data.sounds.licences import Licence

_LISTED = """
abe-data adonthell-data airstrike-common alienblaster-data amoebax-data ardentryst ardour-data asc-data asc-music
asterisk-core-sounds-en-wav asterisk-core-sounds-es-wav asterisk-core-sounds-fr-wav asterisk-core-sounds-it-wav
asterisk-core-sounds-ru-wav asterisk-moh-opsound-wav atanks-data audacious-plugins-data bambam beneath-a-steel-sky
berusky-data berusky2-data biloba-data biniax2-data blobandconquer-data blobby-data blobwars-data bomberclone-data
boswars-data brainparty-data briquolo-data btanks-data bucklespring-data bumprace-data bzflag-data cataclysm-dda-data
caveexpress-data cavepacker-data ceferino-data chromium-bsu-data chuck-data circuslinux-data codec2-examples
colobot-common-sounds connectagram-data criticalmass-data crrcsim-data csmash-data csmash-demosong csound-data
csoundqt-examples cube2-data cuyo-data davegnukem-data ddnet-data deepin-sound-theme denemo-data dreamchess-data
dustracing2d-data eiskaltdcpp-sounds emacspeak endless-sky-data enigma-data etw-data extremetuxracer-data
fb-music-high festvox-ru fillets-ng-data fillets-ng-data-cs fillets-ng-data-nl flare-game foobillardplus-data
freeciv-data freecol freedink-data freedm freedoom freedroid-data freedroidrpg-data freeorion-data freetennis-common
fretsonfire-songs-muldjord fretsonfire-songs-sectoid frozen-bubble-data funnyboat gamine-data
garden-of-coloured-lights-data gcin-voice gcompris-qt-data gearhead2-data gigalomania-data gl-117-data glob2-data
gnome-audio gnubg-data gnujump-data gpsshogi-data guitarix-common gunroar-data hannah-data hedgewars-data
heroes-sound-effects heroes-sound-tracks hex-a-hop-data holotz-castle-data hydrogen-data hydrogen-drumkits
hydrogen-drumkits-effects hyperrogue-music ironseed-data kajongg kball-data ketm-data klettres-data kobodeluxe-data
krank kraptor-data ktuberling-data late-data lbreakout2-data lbreakouthd-data libreoffice-common lightyears
lincity-ng-data linphone-common liquidwar-data lmms-common lomiri-sounds lordsawar-data lugaru-data luola-data
madbomber-data manaplus-data marsshooter-data mazeofgalious-data megaglest-data meritous-data micropolis-data
mirrormagic-data monsterz-data moon-lander-data mrrescue mu-cade-data naev-data netpanzer-data neverball-common
neverball-data njam-data noiz2sa-data open-invaders-data openarena-081-misc openarena-085-data openarena-088-data
openarena-data opencity-data openssn-data orbital-eunuchs-sniper-data overgod-data oxygen-sounds pachi-data
palapeli-data pangzero parsec47-data pathological pax-britannica-data pekka-kana-2-data pinball-data
pinball-table-gnu-data pinball-table-hurd-data pingus-data pink-pony-data pipenightdreams-data planetblupi-common
planetblupi-music-ogg plee-the-bear-data pokerth-data powermanga-data psi-plus-sounds pushover-data pychess pyracerz
pysiogame qabcs-data rafkill-data raincat-data renpy-demo renpy-thequestion ri-li-data rrootage-data scorched3d-data
scratch sdl-ball-data seahorse-adventures searchandrescue-data simutrans-data simutrans-pak64 singularity-music
solarwolf sound-icons sound-theme-freedesktop spring-common starfighter-data stormbaancoureur-data supertux-data
supertuxkart-data tecnoballz-data teeworlds-data titanion-data tomatoes-data torcs-data torus-trooper-data
trackballs-data trigger-rally-data triplea trophy-data tumiki-fighters-data tuxmath-data tuxpaint-data
tuxpaint-plugins-default tuxpaint-stamps-default tuxtype-data ufoai-music ufoai-sound ukui-media unknown-horizons
val-and-rick-data warmux-data warzone2100-data warzone2100-music wesnoth-1.16-data wesnoth-1.16-music
whichwayisup widelands-data wizznic-data wordwarvi-sound xblast-tnt-sounds xblast-tnt-musics xmoto-data xye-data
yaru-theme-sound zaz-data zynaddsubfx-data
"""
PACKAGES = tuple(_LISTED.split())
"""All from Debian's main section, chosen by hand from the descriptions that apt shows.

Not among them, since ``everyday`` draws on the same projects and recordings of its held-out folds would come back
through them: minetest and its mods, openclonk-data, openttd-opensfx, redeclipse-data, sonic-pi-samples.
"""

LABELS = {
    "asterisk-core-sounds-en-wav": "Speech",
    "asterisk-core-sounds-es-wav": "Speech",
    "asterisk-core-sounds-fr-wav": "Speech",
    "asterisk-core-sounds-it-wav": "Speech",
    "asterisk-core-sounds-ru-wav": "Speech",
    "festvox-ru": "Speech",
    "gcin-voice": "Speech",
}
"""AudioSet's name of what is heard in all files of a package, where that is known."""

_CHO = Licence("BSD-2-clause", "Kenta Cho")

DECIDED = {
    # Notices in free form, each of which gives the game whole under the 2-clause BSD licence, but for a copy of SDL's
    # headers that holds no sound.
    **dict.fromkeys(
        (
            *("gunroar-data", "mu-cade-data", "noiz2sa-data", "parsec47-data", "rrootage-data", "titanion-data"),
            *("torus-trooper-data", "tumiki-fighters-data", "val-and-rick-data"),
        ),
        _CHO,
    ),
    # The copyright file names its licence "freedoom-license"; the text is that of the 3-clause BSD.
    "freedoom": Licence("BSD-3-clause", "Contributors to the Freedoom project"),
    "freedm": Licence("BSD-3-clause", "Contributors to the Freedoom project"),
}
"""Licences that a person has read, of packages whose copyright files a program cannot judge."""
