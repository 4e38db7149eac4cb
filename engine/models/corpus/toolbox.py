"""The tools that spark-1 practises on: families with many names and wordings, and invented ones made of a verb and a noun.

A tool's name is held out, so scoring asks for tools that training never named; most values are held out too (`value.py`).
"""

from dataclasses import dataclass
from random import Random
from typing import Callable

from . import value
from .split import Side, on
from .word import ENGLISH, made_up

Make = Callable[[Random, Side], str]


@dataclass(frozen=True)
class Slot:
    """A parameter: names it may have, its JSON type, how its values are made, and words that may describe it."""

    names: tuple[str, ...]
    type: str
    make: Make
    described: tuple[str, ...] = ()
    choices: tuple[str, ...] = ()


@dataclass(frozen=True)
class Family:
    """A kind of tool. Requests name its slots as `{0}`, `{1}`, …; one that names fewer leaves the rest out (they are optional)."""

    names: tuple[str, ...]
    described: tuple[str, ...]
    slots: tuple[Slot, ...]
    requests: tuple[str, ...]


PLACE = Slot(("city", "location", "place", "town", "where", "city_name"), "string", value.place, ("City name", "Name of the city", "The place", "The city, e.g. Paris"))
WHO = Slot(("to", "recipient", "person", "name", "contact", "user"), "string", value.person, ("Who receives it", "Name of the person", "The recipient"))
TEXT = Slot(("text", "message", "body", "content", "msg"), "string", value.sentence, ("The text", "What to say", "Message text"))
QUERY = Slot(("query", "q", "search", "text", "terms", "question"), "string", value.sentence, ("What to look for", "Search terms", "The query"))
TEMPERATURE = Slot(("unit", "units", "scale"), "string", value.one_of(["celsius", "fahrenheit"]), ("Temperature unit",), ("celsius", "fahrenheit"))
AMOUNT = Slot(("amount", "value", "number", "quantity", "sum"), "number", value.amount, ("How much", "The amount"))

FAMILIES = (
    Family(("get_weather", "weather", "current_weather", "get_current_weather", "weather_lookup", "fetch_weather", "check_weather", "get_forecast"),
           ("Get the current weather", "Current weather in a city", "Weather of a place", "Look up the weather", "Returns the weather for a location"),
           (PLACE, TEMPERATURE),
           ("What's the weather in {0}?", "What is the weather in {0}?", "weather in {0}", "How is the weather in {0}?", "Is it raining in {0}?",
            "What is the weather like in {0} today?", "Get the weather in {0} in {1}", "What's the weather in {0} in {1}?", "Tell me the weather for {0}.",
            "How warm is it in {0}?", "Check the weather in {0}", "What is the temperature in {0}?", "Temperature in {0} in {1}")),
    Family(("get_time", "time", "current_time", "get_current_time", "time_in", "clock", "world_clock", "local_time"),
           ("Get the current time", "Current time in a place", "Local time of a city", "Tells the time"), (PLACE,),
           ("What time is it in {0}?", "time in {0}", "What is the time in {0}?", "Tell me the time in {0}", "What's the local time in {0}?", "Current time in {0}?")),
    Family(("search", "web_search", "search_web", "find", "lookup", "google", "search_docs", "search_internet"),
           ("Search the web", "Search for information", "Find pages", "Look something up", "Searches the internet"), (QUERY,),
           ("Search for {0}", "search for {0}.", "Look up {0}", "Find {0}", "Search the web for {0}", "Please search for {0}", "Can you look up {0}?", "Find information about {0}")),
    Family(("convert", "convert_currency", "currency", "exchange", "currency_convert", "exchange_rate"),
           ("Convert money between currencies", "Convert an amount to another currency", "Currency conversion"),
           (AMOUNT, Slot(("from", "from_currency", "source", "base"), "string", value.currency, ("Currency to convert from",)),
            Slot(("to", "to_currency", "target"), "string", value.currency, ("Currency to convert to",))),
           ("Convert {0} {1} to {2}", "How much is {0} {1} in {2}?", "convert {0} {1} into {2}", "Change {0} {1} to {2}", "What is {0} {1} in {2}?", "Exchange {0} {1} for {2}")),
    Family(("convert_units", "unit_convert", "convert", "convert_unit", "measure"),
           ("Convert between units", "Convert a value to another unit", "Unit conversion"),
           (AMOUNT, Slot(("from", "from_unit", "source_unit"), "string", value.unit, ("Unit to convert from",)),
            Slot(("to", "to_unit", "target_unit"), "string", value.unit, ("Unit to convert to",))),
           ("Convert {0} {1} to {2}", "How many {2} are {0} {1}?", "convert {0} {1} into {2}", "What is {0} {1} in {2}?", "{0} {1} in {2}")),
    Family(("send_message", "message", "send_text", "text_message", "send_chat", "notify", "send_sms"),
           ("Send a message", "Send a text message to someone", "Sends a message to a person"), (WHO, TEXT),
           ("Send a message to {0}: {1}", "Tell {0}: {1}", "Message {0}: {1}", "Send {0} the message {1}", "Text {0}: {1}", "Write to {0}: {1}", "Send {1} to {0}")),
    Family(("send_email", "email", "mail", "send_mail"), ("Send an email", "Send an email to an address"),
           (Slot(("to", "address", "email", "recipient"), "string", value.email, ("Email address",)),
            Slot(("subject", "title"), "string", value.sentence, ("Subject of the email",))),
           ("Send an email to {0} about {1}", "Email {0} about {1}", "Write an email to {0} with subject {1}", "Mail {0} about {1}")),
    Family(("create_event", "add_event", "calendar_add", "schedule", "schedule_meeting", "new_event"),
           ("Create a calendar event", "Add an event to the calendar", "Schedule a meeting"),
           (Slot(("title", "name", "summary", "event"), "string", value.sentence, ("Title of the event",)),
            Slot(("date", "day", "on"), "string", value.date, ("Date as YYYY-MM-DD",)),
            Slot(("time", "start", "at"), "string", value.clock, ("Start time",))),
           ("Create an event {0} on {1} at {2}", "Schedule {0} on {1} at {2}", "Add {0} to my calendar on {1} at {2}", "Create an event {0} on {1}", "Schedule {0} on {1}")),
    Family(("translate", "translate_text", "translator", "translation"), ("Translate text", "Translate text into a language"),
           (TEXT, Slot(("language", "target", "to", "target_language", "lang"), "string", value.language, ("Language to translate into",))),
           ("Translate {0} into {1}", "Translate {0} to {1}", "How do you say {0} in {1}?", "What is {0} in {1}?", "Say {0} in {1}")),
    Family(("set_timer", "timer", "start_timer", "countdown"), ("Set a timer", "Start a countdown"),
           (Slot(("minutes", "duration", "length", "duration_minutes"), "integer", value.whole, ("Minutes",)),),
           ("Set a timer for {0} minutes", "Timer for {0} minutes", "Start a timer of {0} minutes", "Remind me in {0} minutes", "Wake me in {0} minutes")),
    Family(("play_music", "play", "play_song", "music"), ("Play music", "Play a song"),
           (Slot(("song", "title", "track", "name"), "string", value.sentence, ("Title of the song",)), Slot(("artist", "by", "singer"), "string", value.person, ("Who sings it",))),
           ("Play {0} by {1}", "Play {0}", "Play the song {0}", "Put on {0} by {1}", "I want to hear {0} by {1}")),
    Family(("get_stock_price", "stock_price", "stock", "quote", "share_price"), ("Get a stock price", "Price of a stock"),
           (Slot(("symbol", "ticker", "stock"), "string", lambda r, s: value.drawn(r, s, lambda r: "".join(r.choice("ABCDEFGHIJKLMNOPQRSTUVWXYZ") for _ in range(r.randint(2, 4)))), ("Ticker symbol",)),),
           ("What is the stock price of {0}?", "Price of {0} stock", "How is {0} stock doing?", "Get the share price of {0}", "stock price {0}")),
    Family(("track_order", "order_status", "get_order", "track_parcel", "find_order"), ("Track an order", "Status of an order", "Where an order is"),
           (Slot(("order_id", "id", "order", "number", "order_number"), "string", value.code, ("Order number",)),),
           ("Where is my order {0}?", "Track order {0}", "What is the status of order {0}?", "Find order {0}", "Status of order {0}")),
    Family(("book_table", "reserve_table", "book_restaurant", "reservation"), ("Book a table", "Reserve a table at a restaurant"),
           (Slot(("restaurant", "name", "place"), "string", value.person, ("Restaurant",)), Slot(("people", "guests", "seats", "party_size"), "integer", value.whole, ("How many people",)),
            Slot(("time", "at", "when"), "string", value.clock, ("Time",))),
           ("Book a table at {0} for {1} people at {2}", "Reserve a table for {1} at {0}", "Book a table for {1} at {0} at {2}", "Table at {0} for {1} people")),
    Family(("calculator", "calculate", "multiply", "compute", "math"), ("Multiply two numbers", "Compute a product of two numbers"),
           (Slot(("a", "x", "first", "left"), "number", value.whole, ("First number",)), Slot(("b", "y", "second", "right"), "number", value.whole, ("Second number",))),
           ("What is {0} times {1}?", "Multiply {0} by {1}", "{0} * {1}", "What is {0} * {1}?", "{0} times {1}")),
    Family(("get_route", "route", "directions", "navigate", "find_route"), ("Find a route between two places", "Directions from one place to another"),
           (Slot(("from", "origin", "start"), "string", value.place, ("Start",)), Slot(("to", "destination", "end"), "string", value.place, ("Destination",))),
           ("How do I get from {0} to {1}?", "Route from {0} to {1}", "Directions from {0} to {1}", "Navigate from {0} to {1}", "Find a route from {0} to {1}")),
    Family(("random_number", "roll_dice", "random", "dice"), ("Roll a dice", "Get a random number"), (),
           ("Roll a dice", "Give me a random number", "Roll the dice please", "Pick a random number")),
)

PLAIN_NAMES = {name for family in FAMILIES for name in family.names}

VERBS = """get find create delete update open close start stop cancel check list add remove show lock unlock pay book print scan mark archive
assign approve reject rename copy move share pause resume fetch read clean paint build repair measure order inspect""".split()
VALUES: tuple[tuple[tuple[str, ...], str, Make], ...] = (
    (("name", "title", "label", "owner", "author", "customer"), "string", value.person),
    (("color", "kind", "category", "type", "topic", "tag", "status", "group"), "string", value.noun),
    (("id", "code", "reference", "key", "number"), "string", value.code),
    (("count", "size", "priority", "level", "limit", "age", "floor", "weight", "quantity"), "integer", value.whole),
    (("price", "amount", "width", "height", "rate", "score"), "number", value.amount),
    (("city", "country", "address", "destination", "region"), "string", value.place),
    (("date", "deadline", "birthday", "due"), "string", value.date),
    (("time", "start", "hour"), "string", value.clock),
    (("email", "contact"), "string", value.email),
)


@dataclass(frozen=True)
class Offer:
    """One described tool, a request that needs it, and the arguments of the right call as JSON text by parameter.

    `does` is the same for tools that do the same.
    """

    does: str
    tool: dict
    request: str
    arguments: dict[str, str]


def offer(random: Random, side: Side) -> Offer:
    """A tool of `side` with a request for it."""
    return invented(random, side) if random.random() < 0.45 else familiar(random, side)


def familiar(random: Random, side: Side) -> Offer:
    family = random.choice(FAMILIES)
    request = random.choice(family.requests)
    named = [slot for index, slot in enumerate(family.slots) if f"{{{index}}}" in request]
    values = [slot.make(random, side) for slot in family.slots]
    names = distinct(random, family.slots)
    name = random.choice(family.names) if side == "train" and random.random() < 0.35 else tool_name(random, side, family.names)
    properties = {}
    for slot, parameter in zip(family.slots, names):
        # A slot that the request leaves out is there half the time, and then optional.
        if slot in named or random.random() < 0.5:
            properties[parameter] = described(random, slot)
    required = [parameter for slot, parameter in zip(family.slots, names) if slot in named and (len(named) == len(family.slots) or slot is not TEMPERATURE)]
    if TEMPERATURE in named:
        required = [parameter for parameter, slot in zip(names, family.slots) if slot is not TEMPERATURE]
    arguments = {p: json_text(slot, v) for slot, p, v in zip(family.slots, names, values) if slot in named}
    return Offer(family.names[0], function(random, name, random.choice(family.described), properties, required), request.format(*values), arguments)


def invented(random: Random, side: Side) -> Offer:
    verb = random.choice(VERBS)
    thing = value.noun(random, side)
    name = tool_name(random, side, (f"{verb}_{thing}", f"{thing}_{verb}", f"{verb}{thing.capitalize()}", f"{verb}_{thing}_by_id"))
    kinds = random.sample(VALUES, random.choice((0, 1, 1, 1, 2, 2, 3)))
    properties, arguments, phrases = {}, {}, []
    for names, type_, make in kinds:
        parameter = random.choice(names) if random.random() < 0.75 else drawn_name(random, side)
        if parameter in properties:
            continue
        slot = Slot((parameter,), type_, make)
        text = make(random, side)
        said = parameter.replace("_", " ")
        properties[parameter] = described(random, Slot((parameter,), type_, make, (f"The {said}", f"{said.capitalize()} of the {thing}")))
        arguments[parameter] = json_text(slot, text)
        phrases.append(random.choice((f"{said} {text}", f"{said} {text}", f"{said}: {text}", f"{said} = {text}")))
    request = random.choice((f"{verb} the {thing}", f"{verb} {thing}", f"Please {verb} the {thing}", f"Can you {verb} a {thing}", f"I want to {verb} a {thing}"))
    if len(phrases) == 1 and random.random() < 0.4:
        request += " " + next(iter(arguments.values())).strip('"')
    elif phrases:
        request += random.choice((" with ", " with ", ", ", " for ")) + random.choice((" and ", ", ")).join(phrases)
    request = request[0].upper() + request[1:] if random.random() < 0.6 else request
    note = random.choice((f"{verb.capitalize()} a {thing}", f"{verb.capitalize()}s the {thing}", f"Use it to {verb} a {thing}", f"{thing.capitalize()}: {verb} it"))
    return Offer(f"{verb} {thing}", function(random, name, note, properties, list(properties)), request, arguments)


def tool_name(random: Random, side: Side, names: tuple[str, ...]) -> str:
    """A name of `side` near one of `names`: with a prefix, a suffix or another spelling. Scoring takes no family's plain name."""
    for _ in range(1000):
        name = random.choice(names)
        # Training sees more made-up beginnings than scoring asks for: they have to be found by the description alone.
        change = random.random() if side == "test" or random.random() < 0.8 else 0.0
        if change < 0.1:
            name = f"{made_up(random, 3, 6)}_{name}"
        elif change < 0.45:
            name = f"{name}_{random.choice(['v2', 'tool', 'now', 'api', random.choice(ENGLISH), made_up(random, 3, 5)])}"
        elif change < 0.62:
            first, *rest = name.split("_")
            name = first + "".join(part.capitalize() for part in rest)
        if on(side, f"tool {name}") and (side == "train" or name not in PLAIN_NAMES):
            return name
    return name


def drawn_name(random: Random, side: Side) -> str:
    """A parameter's name that no list holds."""
    while True:
        name = random.choice(ENGLISH) if random.random() < 0.5 else made_up(random, 3, 7)
        if on(side, f"parameter {name}"):
            return name if random.random() < 0.7 else f"{name}_{random.choice(['id', 'name', 'value', 'code'])}"


def distinct(random: Random, slots: tuple[Slot, ...]) -> list[str]:
    """One name for each slot, none twice."""
    names: list[str] = []
    for slot in slots:
        free = [name for name in slot.names if name not in names]
        names.append(random.choice(free[:1] * 2 + free))
    return names


def described(random: Random, slot: Slot) -> dict:
    """The JSON schema of a parameter."""
    schema: dict = {"type": slot.type}
    if slot.choices and random.random() < 0.7:
        schema["enum"] = list(slot.choices)
    if slot.described and random.random() < 0.45:
        schema["description"] = random.choice(slot.described)
    return schema


def function(random: Random, name: str, description: str, properties: dict, required: list[str]) -> dict:
    description += "." if random.random() < 0.4 else ""
    parameters = {"type": "object", "properties": properties, "required": required}
    return {"type": "function", "function": {"name": name, "description": description, "parameters": parameters}}


def json_text(slot: Slot, text: str) -> str:
    return text if slot.type in ("number", "integer") else f'"{text}"'
