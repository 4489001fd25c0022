"""What synthesised voices say: sentences of our own in many languages, numbers, and made-up combinations."""

from __future__ import annotations

import numpy as np

SENTENCES = {
    "en": (
        "Could you bring me the blue folder from the kitchen table?",
        "The train to the coast leaves at half past six.",
        "I told him yesterday that the shop is closed on Mondays.",
        "Please wait here until the doctor calls your name.",
        "We saw three deer at the edge of the forest this morning.",
        "Turn left after the bridge and go straight on for two miles.",
        "What would you like for breakfast?",
        "It is getting late, let us go home.",
        "My sister plays football with her friends every Thursday.",
        "Stop! There is a car coming!",
        "Nobody knows where the old key has gone.",
        "Thank you very much, that is kind of you.",
        "Add two eggs, a cup of flour and a little salt.",
        "The weather tomorrow will be cloudy with some wind from the west.",
    ),
    "de": (
        "Kannst du mir bitte das Fenster aufmachen?",
        "Der Zug nach Hamburg hat zwanzig Minuten Verspätung.",
        "Gestern haben wir im Garten drei Igel gesehen.",
        "Wo hast du den Schlüssel hingelegt?",
        "Morgen wird es kalt, zieh dir eine Jacke an.",
        "Ich hätte gern zwei Brötchen und ein Stück Käse.",
        "Achtung, die Türen schließen automatisch.",
        "Das ist wirklich sehr freundlich von Ihnen.",
    ),
    "fr": (
        "Est-ce que tu peux fermer la porte, s'il te plaît ?",
        "Le marché commence à huit heures du matin.",
        "Nous avons marché longtemps au bord de la rivière.",
        "Je voudrais un café et un verre d'eau.",
        "Il fait froid ce soir, prends ton manteau.",
        "Où est la gare la plus proche ?",
        "Ma grand-mère habite dans un petit village.",
    ),
    "es": (
        "¿Puedes traerme el libro que está sobre la mesa?",
        "El autobús sale a las nueve y cuarto.",
        "Ayer comimos pescado en casa de mi abuela.",
        "Cierra la ventana, que entra mucho frío.",
        "No sé dónde he dejado las llaves.",
        "Los niños juegan en el parque todas las tardes.",
        "¡Cuidado con el escalón!",
    ),
    "it": (
        "Puoi aprire la finestra, per favore?",
        "Il treno per Milano parte dal binario cinque.",
        "Ieri sera abbiamo mangiato la pizza con gli amici.",
        "Dove sono finite le mie scarpe?",
        "Domani andiamo al mare con i bambini.",
    ),
    "pt": (
        "Você pode me ajudar com esta mala?",
        "O ônibus passa aqui de meia em meia hora.",
        "Ontem choveu muito e ficamos em casa.",
        "Onde fica a farmácia mais perto?",
        "Quero um café com leite, por favor.",
    ),
    "nl": (
        "Kun je de deur even dichtdoen?",
        "De trein naar Utrecht vertrekt over tien minuten.",
        "Wij hebben gisteren een lange wandeling gemaakt.",
        "Waar heb je mijn fiets neergezet?",
    ),
    "pl": (
        "Czy możesz otworzyć okno?",
        "Pociąg do Krakowa odjeżdża o siódmej.",
        "Wczoraj byliśmy na długim spacerze.",
        "Gdzie są moje klucze?",
        "Poproszę dwie kawy i wodę.",
    ),
    "ru": (
        "Закрой, пожалуйста, окно, мне холодно.",
        "Поезд отправляется в половине восьмого.",
        "Вчера мы долго гуляли по лесу.",
        "Где ты оставил мои ключи?",
        "Осторожно, двери закрываются.",
    ),
    "sv": ("Kan du öppna dörren?", "Tåget går klockan tre.", "Vi åt middag hos min bror igår.", "Var är min väska?"),
    "nb": ("Kan du lukke vinduet?", "Bussen går om fem minutter.", "Vi var på fjellet i går.", "Hvor er nøklene mine?"),
    "da": ("Vil du lukke døren?", "Toget kører klokken ni.", "Vi spiste hos min søster i går.", "Hvor er min cykel?"),
    "fi": ("Voitko avata ikkunan?", "Juna lähtee kello kahdeksan.", "Kävimme eilen metsässä.", "Missä avaimeni ovat?"),
    "cs": ("Můžeš zavřít okno?", "Vlak odjíždí v osm hodin.", "Včera jsme byli na výletě.", "Kde mám klíče?"),
    "hu": ("Becsuknád az ablakot?", "A vonat nyolckor indul.", "Tegnap sokat sétáltunk.", "Hol vannak a kulcsaim?"),
    "ro": (
        "Poți să închizi fereastra?",
        "Trenul pleacă la ora opt.",
        "Ieri am mers la munte.",
        "Unde sunt cheile mele?",
    ),
    "tr": (
        "Pencereyi kapatır mısın?",
        "Tren saat sekizde kalkıyor.",
        "Dün uzun bir yürüyüş yaptık.",
        "Anahtarım nerede?",
    ),
    "el": ("Μπορείς να κλείσεις το παράθυρο;", "Το τρένο φεύγει στις οκτώ.", "Πού είναι τα κλειδιά μου;"),
    "uk": ("Зачини, будь ласка, вікно.", "Потяг вирушає о восьмій годині.", "Де мої ключі?"),
    "ca": ("Pots tancar la finestra?", "El tren surt a les vuit.", "On són les meves claus?"),
    "id": ("Tolong tutup jendelanya.", "Kereta berangkat jam delapan.", "Di mana kunci saya?", "Saya mau minum kopi."),
    "vi": ("Anh đóng cửa sổ giúp em được không?", "Tàu chạy lúc tám giờ.", "Chìa khóa của tôi ở đâu?"),
    "hi": ("क्या आप खिड़की बंद कर सकते हैं?", "ट्रेन आठ बजे जाती है।", "मेरी चाबी कहाँ है?", "कल हम बाज़ार गए थे।"),
    "ar": ("هل يمكنك أن تغلق النافذة؟", "يغادر القطار في الساعة الثامنة.", "أين مفاتيحي؟"),
    "fa": ("لطفا پنجره را ببند.", "قطار ساعت هشت حرکت می‌کند.", "کلید من کجاست؟"),
    "cmn": ("请把窗户关上。", "火车八点钟开。", "我的钥匙在哪里?", "昨天我们去了公园。"),
    "sw": ("Tafadhali funga dirisha.", "Treni inaondoka saa mbili.", "Funguo zangu ziko wapi?"),
    "ta": ("தயவுசெய்து சன்னலை மூடு.", "ரயில் எட்டு மணிக்கு புறப்படும்.", "என் சாவி எங்கே?"),
}
"""By the language's code as espeak-ng names it."""


def spoken_text(language: str, rng: np.random.Generator) -> str:
    """One to three sentences in a language, or numbers and times, which every voice reads in its own words."""
    if rng.random() < 0.25:
        numbers = [str(int(rng.integers(10 ** int(rng.integers(1, 5))))) for _ in range(int(rng.integers(1, 6)))]
        return ", ".join(numbers) + "."
    known = SENTENCES[language]
    order = rng.permutation(len(known))[: int(rng.integers(1, 4))]
    return " ".join(known[index] for index in order)
