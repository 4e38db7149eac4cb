"""Values that a request names and a tool call repeats: places, people, amounts, times, sentences. Names are held out."""

from random import Random

from .split import Side, on
from .word import ENGLISH, made_up

CITIES = """Paris London Berlin Madrid Rome Vienna Oslo Lisbon Dublin Prague Warsaw Athens Tokyo Osaka Seoul Beijing Shanghai Delhi Mumbai
Cairo Nairobi Lagos Sydney Boston Chicago Denver Seattle Austin Toronto Lima Bogota Havana Zurich Geneva Munich Hamburg Milan Naples""".split()
LONG_CITIES = ["New York", "Los Angeles", "San Francisco", "Hong Kong", "Cape Town", "Buenos Aires", "São Paulo", "Mexico City", "München",
               "Zürich", "Kraków", "Malmö", "Bogotá", "北京", "上海", "東京", "Москва", "Köln", "Saint Louis", "Rio de Janeiro"]
MORE_CITIES = """Göteborg Reykjavík Düsseldorf Nürnberg Würzburg Łódź Gdańsk Poznań Plzeň Brasília Córdoba Málaga Medellín Cancún Asunción Århus Tromsø
Ålesund Besançon Orléans Genève Montréal Québec Timișoara İzmir Київ Минск Казань София Αθήνα 深圳 广州 大阪 京都 首尔 서울 부산 台北 Örebro Linköping Jönköping
Umeå Pärnu Jyväskylä Bergen Turin Venice Florence Bologna Seville Valencia Porto Nantes Lyon Marseille Toulouse Antwerp Ghent Bruges Utrecht Leiden Graz Linz
Basel Bern Split Zagreb Sofia Riga Vilnius Tallinn Minsk Kyiv Odessa Ankara Baku Tbilisi Tehran Doha Dubai Karachi Lahore Dhaka Hanoi Manila Jakarta Perth
Brisbane Auckland Accra Dakar Tunis Algiers Kampala Quito Caracas Santiago Montevideo Dallas Houston Phoenix Portland Atlanta Miami""".split()
MORE_LONG_CITIES = ["Salt Lake City", "San Diego", "Las Vegas", "New Delhi", "Tel Aviv", "Abu Dhabi", "Kuala Lumpur", "Ho Chi Minh City", "Port Louis", "San José",
                    "Santa Fe", "Addis Ababa", "Panama City", "New Orleans", "San Antonio", "Fort Worth", "Le Havre", "La Paz", "Den Haag", "Baden-Baden", "Nizhny Novgorod",
                    "Saint-Étienne", "Santa Cruz", "Quebec City", "Kansas City", "Porto Alegre", "Belo Horizonte", "São Luís", "Viña del Mar", "Ciudad Juárez"]
ACCENTED = {"a": "áàâäãåă", "c": "çćč", "d": "ďđ", "e": "éèêëęě", "g": "ğ", "i": "íìîï", "l": "ł", "n": "ñńň", "o": "óòôöõøő", "r": "ř", "s": "śšșß", "t": "ťț",
            "u": "úùûüůű", "y": "ýÿ", "z": "źžż"}
SCRIPTS = ("абвгдежзиклмнопрстуфхцчшыэюя", "αβγδεζηθικλμνξοπρστυφχψω", "中国大小山水火木金土人口日月天地上下左右东西南北京海江河花草鱼鸟马牛羊车门书文学生年时分",
           "あいうえおかきくけこさしすせそたちつてとなにぬねのまみむめも", "가나다라마바사아자차카타파하고노도로모보소오조")
PEOPLE = """Ada Alan Grace Linus Anna Bob Carol Dave Erin Frank Heidi Ivan Judy Mallory Oscar Peggy Trent Victor Walter Maria Jose Wei Li
Yuki Omar Fatima Nina Lars Olga Pedro Chloe Emma Noah Liam Mia Sofia""".split()
CURRENCIES = "USD EUR GBP JPY CNY CHF SEK NOK INR BRL CAD AUD KRW MXN".split()
LANGUAGES = "French German Spanish Italian Chinese Japanese Korean Russian Arabic Hindi Dutch Greek Polish Turkish".split()
UNITS = "km miles meters feet inches kg pounds grams ounces liters gallons celsius fahrenheit hours minutes seconds".split()


def drawn(random: Random, side: Side, make) -> str:
    """A value made by `make` that belongs to `side`."""
    for _ in range(200):
        value = make(random)
        if on(side, f"value {value}"):
            return value
    return value


def place(random: Random, side: Side) -> str:
    kind = random.random()
    if kind < 0.4:
        return drawn(random, side, lambda r: made_up(r, 3, 9).capitalize())
    if kind < 0.5:
        return foreign(random, side)
    return drawn(random, side, lambda r: r.choice(CITIES + MORE_CITIES if kind < 0.8 else LONG_CITIES + MORE_LONG_CITIES))


def foreign(random: Random, side: Side) -> str:
    """A made-up name with letters beyond ASCII: one or two accents, or another script."""
    def make(r: Random) -> str:
        if r.random() < 0.2:
            letters = r.choice(SCRIPTS)
            return "".join(r.choice(letters) for _ in range(r.randint(2, 5)))
        letters = list(made_up(r, 3, 9))
        accentable = [at for at, letter in enumerate(letters) if letter in ACCENTED]
        for at in r.sample(accentable, min(len(accentable), r.choice((1, 1, 2)))):
            letters[at] = r.choice(ACCENTED[letters[at]])
        return "".join(letters).capitalize()
    return drawn(random, side, make)


def person(random: Random, side: Side) -> str:
    if random.random() < 0.06:
        return foreign(random, side)
    return drawn(random, side, lambda r: made_up(r, 3, 8).capitalize() if r.random() < 0.6 else r.choice(PEOPLE))


def sentence(random: Random, side: Side) -> str:
    """A few words, as in a message or a search."""
    def make(r: Random) -> str:
        words: list[str] = []
        for _ in range(r.randint(1, 4)):
            words.append(r.choice(ENGLISH) if r.random() < 0.6 else made_up(r))
            # Words that come twice are rare at random and the only hard ones to copy.
            if side == "train" and r.random() < 0.08:
                words.append(r.choice(words))
        return " ".join(words)
    return drawn(random, side, make)


def noun(random: Random, side: Side) -> str:
    return drawn(random, side, lambda r: r.choice(ENGLISH) if r.random() < 0.5 else made_up(r, 3, 9))


def code(random: Random, side: Side) -> str:
    """An identifier of letters and digits, such as AB-1234."""
    def make(r: Random) -> str:
        letters = "".join(r.choice("ABCDEFGHIJKLMNOPQRSTUVWXYZ") for _ in range(r.randint(1, 3)))
        return f"{letters}{r.choice(['-', '', '_'])}{r.randint(1, 9999)}"
    return drawn(random, side, make)


def whole(random: Random, side: Side) -> str:
    digits = random.choice((1, 2, 2, 3, 4))
    return drawn(random, side, lambda r: str(r.randint(10 ** (digits - 1), 10**digits - 1)))


def amount(random: Random, side: Side) -> str:
    if random.random() < 0.25:
        return drawn(random, side, lambda r: f"{r.randint(0, 99)}.{r.randint(1, 99)}".rstrip("0"))
    return whole(random, side)


def clock(random: Random, side: Side) -> str:
    return drawn(random, side, lambda r: f"{r.randint(0, 23):02}:{r.choice((0, 15, 30, 45, r.randint(0, 59))):02}")


def date(random: Random, side: Side) -> str:
    return drawn(random, side, lambda r: f"20{r.randint(20, 39)}-{r.randint(1, 12):02}-{r.randint(1, 28):02}")


def email(random: Random, side: Side) -> str:
    return drawn(random, side, lambda r: f"{made_up(r, 3, 7)}@{r.choice(ENGLISH)}.{r.choice(['com', 'org', 'net', 'io'])}")


def one_of(choices: list[str]):
    """A generator of one of a few fixed values."""
    return lambda random, side: random.choice(choices)


currency, language, unit = one_of(CURRENCIES), one_of(LANGUAGES), one_of(UNITS)
