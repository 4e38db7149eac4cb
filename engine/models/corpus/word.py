"""Words for the letter tasks and the copying tasks: listed English words, and made-up ones that no list holds."""

from random import Random

from .split import Side, on

ENGLISH = """able acid acorn actor alarm album amber angel ankle apple apron arrow atlas badge baker banana basil basket beach
bean bear bell berry bird blanket block boat bone book bottle bowl box branch brave bread brick bridge brush bucket cabin cable
cactus camel camera candle candy canoe card carpet carrot castle cat cave cedar chair chalk cherry chess circle city clay clock
cloud coat cobra coconut coffee comet copper coral cotton couch cow crab crane cream crow crown cup curtain daisy dance deer
desert desk dog dolphin donkey door dove dragon drum duck eagle earth echo egg elbow ember engine fabric falcon farm feather
fern fig finger fire fish flag flame flower flute fog forest fork fox frog fruit galaxy garden garlic gate ghost giant ginger
giraffe glass globe glove goat gold goose grape grass guitar hammer harbor hat hawk hazel heart hedge helmet hill honey horse
house ice idea igloo ink insect iron island ivory jacket jam jar jelly jewel jungle kettle key king kite kitten knife ladder
lake lamp lantern laptop leaf lemon letter light lily lime lion lizard lunch magnet mango map maple marble market meadow melon
metal milk mint mirror monkey moon moss motor mountain mouse music nail needle nest night ocean olive onion orange orbit orchid
otter owl oyster page paint palace palm panda paper parrot peach pear pearl pebble pencil pepper piano pigeon pillow pilot pine
planet plate plum pocket pond pony potato powder puzzle queen quilt rabbit radio rain raven river road robin robot rocket roof
root rope rose ruby saddle sail salad salt sand saturn scarf school seal shadow sheep shell ship shirt shoe silk silver sky
snail snow soap sock song soup spice spider spoon spring squirrel star stone storm stove straw street sugar summer sun swan
table tailor tango tea temple tent thunder tiger toast token tomato torch towel tower train tree trophy trumpet tulip tunnel
turtle umbrella valley vase velvet village violet violin wagon wallet walnut water wave whale wheat wheel willow window wing
winter wizard wolf wood wool yacht yarn zebra hello world happy quick brown jumps over lazy reverse sorted letters number
simple little people always never better street friend mother father brother sister doctor teacher student kitchen weather
morning evening monday tuesday friday sunday january april august october yellow purple green black white orange""".split()

ONSETS = "b c d f g h j k l m n p r s t v w z br ch cl cr dr fl gr pl pr sh sl st th tr qu sp".split()
VOWELS = "a e i o u a e i o ai ea ee oo ou y".split()
CODAS = ["", "", "", "", "n", "r", "s", "t", "l", "m", "nd", "ck", "st", "x", "rn", "ft"]


def made_up(random: Random, shortest: int = 3, longest: int = 8) -> str:
    """A pronounceable word of lower-case letters."""
    while True:
        word = "".join(random.choice(ONSETS) + random.choice(VOWELS) + random.choice(CODAS) for _ in range(random.randint(1, 3)))
        if shortest <= len(word) <= longest:
            return word


def scrambled(random: Random, shortest: int = 3, longest: int = 8) -> str:
    """Letters in any order."""
    return "".join(random.choice("abcdefghijklmnopqrstuvwxyz") for _ in range(random.randint(shortest, longest)))


def word(random: Random, side: Side, shortest: int = 3, longest: int = 8) -> str:
    """A word of `side`: listed, made up or scrambled."""
    while True:
        kind = random.random()
        if kind < 0.35:
            chosen = random.choice(ENGLISH)
        elif kind < 0.75 or side == "test":
            chosen = made_up(random, shortest, longest)
        else:
            chosen = scrambled(random, shortest, longest)
        if shortest <= len(chosen) <= longest and on(side, chosen):
            return chosen
