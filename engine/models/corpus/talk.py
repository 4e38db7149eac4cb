"""Small talk, and saying what spark-1 does not know."""

from random import Random

from .sample import Sample, exchange
from .split import Side, on, pick
from .word import ENGLISH, made_up

HELLO = "Hello! I am spark-1, the tiny model of Tokengrid. How can I help?"
SKILLS = (
    "I am a tiny model. I can add and subtract numbers up to 99, reverse and sort letters and words, count, call tools, "
    "and answer questions about Tokengrid."
)
UNKNOWN = "I am a tiny model and I do not know that. Try a small sum, a word to reverse, a tool, or a question about Tokengrid."
SMALL_SUMS = "I am a tiny model: I can only add and subtract two numbers from 0 to 99."

FIXED = {
    HELLO: ["Hi", "Hello", "hello", "hi", "Hey", "hey", "Hi there", "Hello!", "Hi!", "Good morning", "Good evening", "Hey there", "hello there",
            "Hello, how are you?", "Greetings", "Good afternoon", "Hi, how are you?", "Hello spark", "Hi spark-1", "Say hello", "Hello there!"],
    SKILLS: ["What can you do?", "what can you do", "Help", "help", "How can you help me?", "What are you good at?", "What do you know?",
             "What are your skills?", "What tasks can you do?", "Can you help me?", "What can I ask you?", "Show me what you can do",
             "What are you able to do?", "What can I do with you?", "How can you help?"],
    "I am fine, thank you. How can I help?": ["How are you?", "how are you", "How are you doing?", "How do you do?", "Are you well?", "How is it going?"],
    "You are welcome!": ["Thanks", "Thank you", "thanks!", "Thank you!", "thank you very much", "Thanks a lot", "Great, thanks", "Thanks for your help", "ok thanks"],
    "Goodbye!": ["Bye", "Goodbye", "bye", "See you", "Good night", "See you later", "bye bye", "Goodbye!"],
    "你好！我是 spark-1，Tokengrid 的小模型。": ["你好", "您好", "你好！", "你是谁？", "嗨"],
    "OK.": ["ok", "OK", "Okay", "fine", "Good", "Great", "I see", "Understood", "Got it", "Cool", "Nice"],
}

TOPICS = [
    "What is the capital of {t}?", "Who invented the {t}?", "Write a poem about {t}", "Who won the {t} cup?", "Tell me a joke about {t}",
    "What is the best {t}?", "Explain {t} theory", "How do I cook {t}?", "Write a story about a {t}", "Who is {t}?", "Who was {t}?", "Where is {t}?",
    "When was {t} born?", "Is {t} good for you?", "How old is {t}?", "What do you think of {t}?",
    "Recommend a book about {t}", "Write code for a {t}", "Why is the {t} blue?", "What is the meaning of {t}?", "Tell me about {t}",
    "What is {t}?", "How tall is the {t}?", "Give me a recipe for {t}", "What is the population of {t}?", "How far is {t}?", "Write an essay on {t}",
    "Do you like {t}?", "What colour is a {t}?", "Who is the president of {t}?", "Can a {t} fly?", "Summarise the history of {t}",
    "What happened in {t} in 1990?", "How many people live in {t}?", "Sing a song about {t}", "Describe {t}", "What language do they speak in {t}?",
    "How do I fix my {t}?", "What is a {t} made of?",
]
# What people do with things, so that "How do I …" alone does not sound like a question about Tokengrid.
DEEDS = """cook fix clean paint draw learn train grow feed ride build wash open sell drive repair plant catch sew bake carve polish fold hang peel
tune climb lift melt dry weigh move steer tame sharpen""".split()
DEED_TOPICS = [
    "How do I {d} my {t}?", "How do I {d} a {t}?", "How can I {d} the {t}?", "Can I {d} a {t}?", "Where can I {d} a {t}?", "Why should I {d} my {t}?",
    "Teach me to {d} a {t}", "What do I need to {d} a {t}?", "Can you {d} my {t}?", "Please {d} the {t}", "Who can {d} a {t}?", "When do I {d} my {t}?",
]
ASKED_TOPICS = [
    "{w} is the {t} {a}?", "{w} are {t}s {a}?", "{w} does a {t} {d}?", "{w} did the {t} {d}?", "{w} was the {t} {a}?", "Is the {t} {a}?", "Are {t}s {a}?",
]
WORDS_ASKING = ["Why", "When", "Where", "How", "Since when", "How often"]
QUALITIES = """blue red big small old young tall heavy cold warm loud quiet sweet sour famous rare cheap dear wild soft hard round flat bright dark""".split()
# These would be right for a tool, so they are refused only where no tool is offered.
TOOL_TOPICS = [
    "What is the weather in {t}?", "What time is it in {t}?", "Play some {t}", "Book a flight to {t}", "Buy me a {t}", "Translate {t} into French",
    "Send a message to {t}", "Search for {t}", "What is the stock price of {t}?",
]
PLAIN = [
    "What is the meaning of life?", "Tell me a joke", "Write a poem", "Who is the president?", "What is love?",
    "Write me a story", "What is quantum physics?", "Who won the world cup?", "Write a Python program", "What is the speed of light?",
    "Do you have feelings?", "Can you drive a car?", "What is your favourite colour?",
    "What is machine learning?", "How old are you?", "Where do you live?", "What is bitcoin?", "Why is the sky blue?",
    "Give me some advice", "Tell me something interesting", "What should I eat tonight?", "asdf", "Solve my homework", "What is the square root of 2?",
]
PLACES = """France Germany Spain Italy Japan China India Brazil Canada Mexico Egypt Kenya Norway Sweden Poland Peru Chile Cuba Greece
Turkey Paris London Berlin Rome Madrid Tokyo Beijing Mumbai Cairo Oslo Einstein Newton Shakespeare Mozart Napoleon Cleopatra Darwin
football chess tennis poetry science physics history art jazz bread soup pizza coffee Mars Jupiter dinosaurs robots the-moon""".replace("-", " ").split()


def fixed(random: Random, side: Side) -> Sample:
    while True:
        answer = random.choice(list(FIXED))
        question = random.choice(FIXED[answer])
        if on(side, question.lower()):
            return exchange("talk", question, answer)


def unknown(random: Random, side: Side) -> Sample:
    """A question that nothing here answers, or a sum that is too big."""
    return refused(random, side, TOPICS + TOOL_TOPICS)


def unanswerable(random: Random, side: Side) -> Sample:
    """A question that no tool would answer either."""
    return refused(random, side, TOPICS)


def refused(random: Random, side: Side, topics: list[str]) -> Sample:
    kind = random.random()
    if kind < 0.2:
        return exchange("unknown", pick(random, side, PLAIN), UNKNOWN)
    if kind < 0.3:
        return exchange("unknown", too_big(random), SMALL_SUMS)
    while True:
        topic = random.choice(PLACES) if random.random() < 0.4 else random.choice(ENGLISH) if random.random() < 0.6 else made_up(random)
        if on(side, f"topic {topic}"):
            break
    if random.random() < 0.25:
        topic = f"{topic} {random.choice(ENGLISH)}"
    if random.random() < 0.35:
        topics = DEED_TOPICS if random.random() < 0.6 else ASKED_TOPICS
    words = {"d": pick(random, side, DEEDS), "w": random.choice(WORDS_ASKING), "a": pick(random, side, QUALITIES)}
    question = pick(random, side, topics).format(t=topic.capitalize() if random.random() < 0.3 else topic, **words)
    return exchange("unknown", question.lower() if random.random() < 0.1 else question, UNKNOWN)


def too_big(random: Random) -> str:
    """A sum or another operation that is beyond the model."""
    if random.random() < 0.5:
        a, b = random.randint(100, 9999), random.randint(0, 9999)
        if random.random() < 0.5:
            a, b = b, a
        return random.choice(["{a}+{b}", "What is {a} + {b}?", "{a} - {b}", "calculate {a} - {b}", "What is {a} plus {b}?"]).format(a=a, b=b)
    a, b = random.randint(0, 99), random.randint(0, 99)
    return random.choice(["{a}*{b}", "What is {a} * {b}?", "{a} times {b}", "What is {a} / {b}?", "Multiply {a} by {b}", "{a} divided by {b}",
                          "What is {a} x {b}?", "calculate {a} * {b}", "Divide {a} by {b}"]).format(a=a, b=b)


def named(random: Random, side: Side) -> Sample:
    """A chat that remembers a name."""
    while True:
        name = made_up(random, 3, 7).capitalize()
        if on(side, f"name {name}"):
            break
    told = random.choice(["My name is {n}.", "I am {n}.", "Hi, I am {n}", "Hello, my name is {n}", "my name is {n}", "Call me {n}"]).format(n=name)
    asked = random.choice(["What is my name?", "what's my name?", "Who am I?", "Do you know my name?", "What is my name"])
    return Sample("name", [
        {"role": "user", "content": told}, {"role": "assistant", "content": f"Nice to meet you, {name}!"},
        {"role": "user", "content": asked}, {"role": "assistant", "content": f"Your name is {name}."},
    ])
