"""The words a caption may choose from for each meaning, and words that mean nothing to the painter."""

STYLE_WORDS: dict[str, tuple[str, ...]] = {
    "flat": (
        *("flat illustration", "vector art", "flat design", "illustration", "digital art", "clean illustration"),
        *("digital painting", "concept art", "minimalist", "poster", "clip art", "simple shapes"),
    ),
    "anime": (
        *("anime", "anime style", "in anime style", "anime art", "manga style", "cel shaded", "cartoon", "manga"),
        *("in the style of anime", "cartoon style", "studio anime", "comic", "comic book style", "japanese animation"),
    ),
    "watercolor": (
        *("watercolor", "watercolor style", "watercolor painting", "in watercolor", "watercolour", "as a watercolour"),
        *("soft painting", "aquarelle", "watercolour painting", "painted with watercolors", "oil painting"),
        *("impressionist painting", "gouache", "storybook painting"),
    ),
    "pixel": (
        *("pixel art", "pixel art style", "8-bit", "16-bit", "retro game art", "as pixel art", "pixelated"),
        *("in pixel style", "8 bit game", "16-bit pixel art", "retro video game", "pixels"),
    ),
    "neon": (
        *("neon", "neon lights", "cyberpunk", "cyberpunk style", "synthwave", "glowing neon", "vaporwave"),
        *("with neon lights", "in cyberpunk style", "neon glow", "futuristic neon", "retrowave", "blade runner style"),
    ),
    "sketch": (
        *("sketch", "pencil sketch", "pencil drawing", "line art", "as a pencil drawing", "hand drawn sketch"),
        *("drawing", "colored pencil", "ink drawing", "line drawing", "charcoal sketch", "hand drawn", "doodle"),
    ),
}
STYLE_RECIPES: dict[str, tuple[str, ...]] = {
    "flat": ("clean lines", "simple shapes", "bold flat colors", "soft gradients", "balanced composition"),
    "anime": ("bold outlines", "vibrant colors", "expressive", "key visual", "clean line art", "vivid shading"),
    "watercolor": ("soft washes", "paper texture", "gentle colors", "wet on wet", "delicate", "bleeding edges"),
    "pixel": ("limited palette", "crisp pixels", "retro game", "dithering", "sprite", "low resolution"),
    "neon": ("glowing lights", "dark background", "magenta and cyan", "futuristic", "electric glow", "holographic"),
    "sketch": ("graphite", "rough lines", "cross hatching", "on paper", "monochrome shading", "loose strokes"),
}
# Whole recipes, as the product's style presets put them around a prompt.
STYLE_TEMPLATES: dict[str, tuple[str, ...]] = {
    "flat": (
        "{}, flat design, simple shapes, vector illustration",
        "{}, realistic, natural light, sharp focus, highly detailed",
        "{}, epic fantasy painting, magical, majestic light",
        "vintage travel poster of {}, flat colors, grain",
        "{}, highly detailed, beautiful composition",
    ),
    "anime": (
        "{}, anime style, clean line art, vibrant cel shading",
        "{}, comic book style, bold ink outlines, halftone",
        "{}, ukiyo-e woodblock print, flat colors, bold outlines",
    ),
    "watercolor": (
        "{}, watercolor painting, soft washes, paper texture",
        "oil painting of {}, thick brush strokes, canvas",
        "{}, storybook illustration, cute, warm colors",
        "{}, dreamy, pastel colors, soft light, mist",
    ),
    "pixel": ("{}, pixel art, 16 bit, crisp pixels",),
    "neon": ("{}, neon, cyberpunk, glowing lights at night", "{}, neon, cyberpunk, glowing lines"),
    "sketch": ("pencil sketch of {}, sketch, hand drawn, graphite",),
}
TIME_WORDS: dict[str, tuple[str, ...]] = {
    "day": (
        *("by day", "on a sunny day", "under a blue sky", "in daylight", "in the morning", "with a clear sky"),
        *("in the sun", "at noon", "in summer", "sunny", "bright day", "daytime", "on a bright day"),
        *("in the afternoon",),
    ),
    "sunset": (
        *("at sunset", "at dusk", "in the golden hour", "in the evening", "during sunset", "under an orange sky"),
        *("at sundown", "with a beautiful sunset", "sunset", "golden hour", "at dawn", "at sunrise", "twilight"),
        *("evening light", "sunset sky", "warm evening", "dusk", "sunrise"),
    ),
    "night": (
        *("at night", "under the stars", "in the moonlight", "under a starry sky", "by night", "with a full moon"),
        *("at midnight", "under the moon", "in the dark", "night", "starry night", "moonlit", "night sky", "moonlight"),
    ),
    "storm": (
        *("in a storm", "under a stormy sky", "with dark clouds and lightning", "in a thunderstorm", "in the rain"),
        *("stormy", "rainy", "storm", "with lightning", "on a rainy day", "stormy weather", "thunder", "heavy rain"),
    ),
}
TIME_LANDSCAPES: dict[str, tuple[str, ...]] = {
    "day": ("a blue sky over", "a sunny day over", "a clear sky over", "the sun over"),
    "sunset": ("a beautiful sunset over", "sunset over", "a sunset over", "sunrise over", "an orange sky over"),
    "night": ("a starry night over", "the moon over", "night sky over", "a full moon over", "stars over"),
    "storm": ("a storm over", "a thunderstorm over", "lightning over", "dark clouds over", "rain over"),
}
PLACE_WORDS: dict[str, tuple[str, ...]] = {
    "mountains": (
        *("in front of mountains", "in the mountains", "with mountains", "near snowy peaks", "in a valley"),
        *("with mountains in the background", "on a mountain", "in the alps", "near mount fuji"),
    ),
    "sea": (
        *("by the sea", "on the ocean", "at the sea", "over the sea", "by the ocean", "at the beach", "at sea"),
        *("with ocean waves", "on the waves", "on the coast", "on the sea"),
    ),
    "lake": (
        *("by a lake", "at a lake", "on a lake", "in a lake", "near a calm lake", "by a pond", "by the river"),
        *("at the lake", "on a pond", "by the lakeside"),
    ),
    "forest": (
        *("in a forest", "in the woods", "in a pine forest", "among trees", "in an enchanted forest"),
        *("with pine trees", "in the forest", "in the jungle", "among pine trees"),
    ),
    "cherry": (
        *("with cherry blossoms", "under cherry trees", "among sakura trees", "in a cherry blossom garden"),
        *("with pink blossoms", "in a japanese garden", "under cherry blossoms", "with sakura", "in spring"),
    ),
    "city": (
        *("in a city", "in front of a skyline", "in the streets of a city", "with skyscrapers", "in tokyo"),
        *("in a futuristic city", "in town", "in new york", "with buildings", "in the city", "on the street"),
    ),
    "desert": (
        *("in the desert", "on sand dunes", "in a desert with cactus", "in the sahara", "on the sand"),
        *("in a desert", "with cactuses", "among dunes", "on mars"),
    ),
    "meadow": (
        *("in a meadow", "in a field of flowers", "on green grass", "in a garden", "in the countryside"),
        *("on a hill", "in a park", "in the grass", "on a green field", "in a field"),
    ),
    "snow": (
        *("in the snow", "in winter", "in a snowy landscape", "with falling snow", "on a snowy field"),
        *("in the arctic", "in a winter wonderland", "on the ice", "snowy", "in snow"),
    ),
}
PLACE_NAMES: dict[str, tuple[str, ...]] = {
    "mountains": ("mountains", "snowy mountains", "the mountains", "mountain peaks", "a mountain valley", "the alps"),
    "sea": ("the sea", "the ocean", "a calm sea", "ocean waves", "a beach", "the coast", "a seascape"),
    "lake": ("a lake", "a calm lake", "a river", "a pond", "the lake", "a blue lake"),
    "forest": ("a forest", "pine trees", "a pine forest", "the woods", "an enchanted forest", "trees"),
    "cherry": (
        *("cherry trees", "cherry blossoms", "sakura trees", "a japanese garden", "sakura", "cherry blossom trees"),
    ),
    "city": ("a city", "a city skyline", "skyscrapers", "a futuristic city", "tokyo", "the city", "buildings"),
    "desert": ("a desert", "sand dunes", "the desert", "desert dunes", "the sahara", "cactus desert"),
    "meadow": ("a meadow", "a field of flowers", "green fields", "a flower meadow", "the countryside", "a landscape"),
    "snow": ("a snowy landscape", "a winter landscape", "snow", "a snowy forest", "a snowy field", "winter"),
}
SUBJECT_WORDS: dict[str, tuple[str, ...]] = {
    "cat": ("cat", "cat", "cat", "kitten", "kitty", "cats"),
    "dragon": ("dragon", "dragon", "dragon", "baby dragon", "dinosaur", "wyvern"),
    "robot": ("robot", "robot", "robot", "android", "mech", "cyborg"),
    "samurai": ("samurai", "samurai", "samurai warrior", "warrior", "ninja", "knight", "shogun"),
    "bird": ("bird", "bird", "bird", "parrot", "songbird", "sparrow", "raven"),
    "fox": ("fox", "fox", "fox", "wolf", "dog", "kitsune"),
    "boat": ("boat", "boat", "sailboat", "ship", "sailing boat", "sailing ship", "yacht"),
    "lighthouse": ("lighthouse", "lighthouse", "light house", "beacon"),
    "rocket": ("rocket", "rocket", "spaceship", "space rocket", "rocket ship", "spacecraft"),
    "flower": ("flower", "flower", "rose", "big flower", "daisy", "tulip"),
    "castle": ("castle", "castle", "palace", "fortress", "fairy tale castle"),
    "house": ("house", "house", "cottage", "cabin", "home", "hut"),
}
COLOUR_WORDS: dict[str, tuple[str, ...]] = {
    "red": ("crimson", "scarlet", "ruby", "dark red"),
    "orange": ("amber", "tangerine", "ginger"),
    "yellow": ("golden", "gold", "bright yellow", "lemon"),
    "green": ("emerald", "lime", "light green", "jade"),
    "blue": ("azure", "navy", "sapphire", "light blue", "dark blue"),
    "purple": ("violet", "lilac", "lavender"),
    "pink": ("rosy", "magenta", "hot pink"),
    "white": ("silver", "ivory", "pale"),
    "black": ("ebony", "jet black", "pitch black"),
}
VERBS = ("sitting", "standing", "resting", "alone", "posing", "looking at the viewer", "seen from the front", "waiting")
ADJECTIVES = (
    *("beautiful", "cute", "lovely", "magical", "majestic", "peaceful", "epic", "serene", "mysterious", "big", "small"),
    *("little", "dreamy", "fantasy", "tiny", "giant", "happy", "lonely", "old", "brave", "friendly", "fluffy"),
)
QUALITY = (
    *("masterpiece", "best quality", "highly detailed", "detailed", "4k", "8k", "high resolution", "beautiful", "hdr"),
    *("trending on artstation", "vivid colors", "cinematic lighting", "ultra detailed", "wallpaper", "sharp focus"),
    *("dramatic lighting", "award winning", "intricate", "professional", "stunning", "soft light", "high quality"),
    *("beautiful composition", "natural light", "majestic light", "warm colors", "pastel colors", "realistic"),
    *("centered design", "clean background", "poster composition", "wide composition", "wraparound design"),
    *("vertical composition", "bold outline", "scenic view", "striking composition", "calm center"),
)
OPENINGS = (
    *("a picture of", "a painting of", "an image of", "a photo of", "picture of", "an artwork of", "a scene of"),
    *("please draw", "show me", "a portrait of", "a view of", "a close up of", "i want", "create", "generate"),
)
BLAME = (
    *("blurry", "low quality", "worst quality", "ugly", "bad anatomy", "deformed", "watermark", "text", "signature"),
    *("cropped", "jpeg artifacts", "extra limbs", "bad hands", "disfigured", "out of frame", "noise", "distorted"),
    *(
        "photo",
        "3d render",
        "texture",
        "sharp lines",
        "smooth",
        "gradient",
        "clutter",
        "harsh",
        "scary",
        "modern",
        "plain",
    ),
)
# Known to the tokenizer as whole words, so that they cost one token; training shows them as words without meaning.
_OTHER = """the of to and in is on it with for as at by from that this over under near above behind young man woman girl
boy person people horse fish owl bear rabbit lion tiger car train plane bridge tower window door light
lights cold warm hot soft face eyes hair hands portrait view background foreground style art photo realistic
photorealistic 3d render hd uhd acrylic ink rainbow fog mist wind fire island rock stone cliff path road
running playing football riding eating dancing wearing hat armor sword crown magic wizard princess king
queen alien planet cake coffee guitar book retriever astronaut unicorn elephant galaxy penguin mouse monkey
very some many two three one his her my your our no not without"""
OTHER_WORDS = tuple(_OTHER.split())
