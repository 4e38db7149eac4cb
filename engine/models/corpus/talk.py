"""Small talk, and saying what spark-1 does not know."""

from functools import cache
from random import Random

from .sample import Sample, exchange
from .split import Side, expanded, on, pick
from .word import ENGLISH, made_up

HELLO = "Hello! I am spark-1, the tiny model of Tokengrid. How can I help?"
SKILLS = (
    "I am a tiny model. I can add and subtract numbers up to 99, reverse and sort letters and words, count, call tools, "
    "and answer questions about Tokengrid."
)
UNKNOWN = "I am a tiny model and I do not know that. Try a small sum, a word to reverse, a tool, or a question about Tokengrid."
SMALL_SUMS = "I am a tiny model: I can only add and subtract two numbers from 0 to 99."

FINE = "I am fine, thank you. How can I help?"
WELCOME = "You are welcome!"
GOODBYE = "Goodbye!"
NIHAO = "你好！我是 spark-1，Tokengrid 的小模型。"
# Whole phrases, where `{this|that}` stands for either.
FIXED = {
    HELLO: ["Hi", "Hello", "Hey", "Hi there", "Good morning", "Good evening", "Hey there", "Greetings", "Good afternoon", "Say hello", "Hello, how are you?",
            "Hi, how are you?", "Hello spark", "Hi spark-1",
            "{Hi|Hello|Hey|Good morning|Good evening|Good afternoon|Greetings} {there|spark|spark-1|model|friend|everyone|you|robot|my friend|dear model|again}",
            "{Hi|Hello|Hey|Good morning|Good evening|Good afternoon}, {how are you|how are you today|how are you doing|how is it going|nice to meet you|I am new here|I need help|can you help me}?",
            "{Say|Please say} {hello|hi|hello to me|something nice|hi to me|hello to us}", "{Nice|Good|Great|Happy|Pleased} to {meet|see} you{| spark| spark-1| today}",
            "Is {anybody|anyone|someone|somebody} {there|here|home|listening}?", "Are you {there|here|awake|online|ready|listening}?"],
    SKILLS: ["Help", "How can you help me?", "Can you help me?", "How can you help?", "What can I do with you?",
             "{What|Which things} {can you do|are you able to do|could you do}{| for me| for us| here| today| with words| with numbers}?",
             "{What|Which things} {can you help with|are you good at|do you know|do you do|can I ask you|can I use you for|should I ask you|may I ask}{| here| today}?",
             "What are your {skills|abilities|talents|tasks|features|strong points}?", "{Which|What} {tasks|jobs|things} {can|do} you {do|handle|know|understand}?", "{Which|What} questions {can|do} you {answer|know|understand}?",
             "{Show|Tell} me what you {can do|can help with|are good at|are able to do|know}", "{List|Describe|Name|Explain} your {skills|abilities|talents|tasks|features}",
             "What {use|good|help} are you?", "What are you {for|made for|good for|useful for|there for}?", "{Can|Could|Will|Would} you help me{| a bit| out| please| with something}?",
             "How {can|could|do|will} you help{| me| us}?", "{I need|Give me|Please give me} {help|some help|a hand}", "What is {possible|possible with you|possible here}?"],
    FINE: ["How are you?", "How do you do?", "Are you well?", "How is it going?", "{How are you|How are you doing|How do you feel|How are things|How is life|How is it going|How have you been}{| today| now| this morning| these days|, spark|, spark-1}?",
           "{Are you|Do you feel} {well|fine|OK|good|happy|all right}{| today| now}?", "How is your {day|morning|week|evening}{| going| so far}?", "{Is everything|Are things} {fine|OK|well|good|all right}{| with you| today}?"],
    WELCOME: ["Thanks", "Thank you", "Great, thanks", "Thanks for your help", "ok thanks", "{Thanks|Thank you|Many thanks|Thanks a lot|Thank you very much|Thank you so much}{| for your help| for the answer| for that| for everything|, spark|, spark-1| again| for your time}",
              "{Great|OK|Nice|Perfect|Good|Cool|Wonderful}, {thanks|thank you|many thanks|thanks a lot}", "That {helps|helped|is helpful|was helpful|helps a lot}{|, thanks|, thank you}",
              "I {appreciate|am grateful for} {it|that|your help|this}", "You {are very helpful|helped me|helped a lot}{|, thanks|, thank you}"],
    GOODBYE: ["Bye", "Goodbye", "See you", "Good night", "See you later", "bye bye",
              "{Bye|Goodbye|See you|Farewell|Good night|Bye bye|So long}{| for now|, spark|, spark-1| then| my friend|, and thanks| and take care}", "See you {soon|later|tomorrow|then|around|next time|on monday|next week}",
              "{I have to|I must|I will|Let me|I need to} {go|leave|go now|leave now|stop here|go home}", "{Have a|Have a very} {nice|good|great} {day|evening|night|weekend|time}", "{That is|That was} all{| for now| for today| from me}",
              "Talk to you {soon|later|tomorrow|then}", "Take care{| of yourself| then|, spark|, bye}"],
    NIHAO: ["你好", "您好", "你好！", "你是谁？", "嗨", "{你|您}好{|啊|呀|！|。|吗|吗？|，你是谁？|，小模型|，spark|，spark-1}", "{你|您}{是谁|叫什么|叫什么名字|是什么|是什么模型}{|？|呢|呢？|呀？}",
            "{早上|晚上|下午|中午}好{|！|啊|，你是谁？|。|呀}", "{嗨|嘿|哈喽}{|！|，你好|，你是谁？|，您好|。}", "{大家|朋友|小模型}{，|}{你好|您好}{|！|。}"],
    "OK.": ["OK", "Okay", "fine", "Good", "Great", "I see", "Understood", "Got it", "Cool", "Nice",
            "{OK|Okay|Fine|Good|Great|Right|Nice|Cool|Ah|Oh|Well} {then|so|I see|understood|got it|that is fine|that is good|good to know|I understand|all right|very good|very nice}",
            "{I see|I understand|Understood|Got it|All right|Very well|Good to know|Makes sense|That makes sense|Sounds good|Fair enough|Very good|Very nice}{| now| then|, good|, fine|, ok}",
            "{That is|This is|It is} {good|great|fine|nice|right|correct|cool|clear|interesting}{| now| then|, ok}"],
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


@cache
def phrases(answer: str) -> list[str]:
    """Every phrase that gets this answer, each once; what could get another one, too, belongs to the first."""
    earlier = {phrase.lower() for other in list(FIXED)[: list(FIXED).index(answer)] for phrase in phrases(other)}
    found = dict.fromkeys(phrase for written in FIXED[answer] for phrase in expanded(written))
    return [phrase for phrase in found if phrase.lower() not in earlier]


def fixed(random: Random, side: Side) -> Sample:
    """A phrase and its answer. A phrase is held out before it is written as people type it."""
    while True:
        answer = random.choice(list(FIXED))
        question = random.choice(phrases(answer))
        if on(side, question.lower()):
            return exchange("talk", typed(random, question), answer)


def typed(random: Random, phrase: str) -> str:
    """The phrase in other letters or with another end."""
    if random.random() < 0.3:
        phrase = phrase.lower()
    kind = random.random()
    if phrase.endswith("?"):
        return phrase.rstrip("?") if kind < 0.2 else phrase
    return phrase + ("!" if kind < 0.2 else "." if kind < 0.35 else "") if phrase.isascii() else phrase


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
