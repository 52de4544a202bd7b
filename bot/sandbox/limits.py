"""Every limit of the platform as a named constant. Source of all: docs/wechat-limits.md (read 2026-11),
section in the comment. Where sources disagree the stricter reading holds here."""

HOUR = 3600
DAY = 24 * HOUR

# tokens, 4.1
TOKEN_SECONDS = 7200
TOKEN_OVERLAP_SECONDS = 300  # after /cgi-bin/token an old token lives on about 5 minutes
STABLE_RENEW_SECONDS = 300  # stable_token gives a new token in the last 5 minutes
FORCE_REFRESH_PER_DAY = 20
FORCE_REFRESH_APART_SECONDS = 30
STABLE_TOKEN_PER_MINUTE = 10_000
CLEAR_QUOTA_PER_MONTH = 10  # 4.3

# callback, 1.5: "retried three times", read as three further deliveries (section 16, 2)
PUSH_TIMEOUT_SECONDS = 5
PUSH_REPEATS = 3

# texts, 3 and 9.3 (mark C); 8.3 for mass (the web editor's limit)
TEXT_BYTES = 2048
MASS_TEXT_CHARACTERS = 600
REPLY_ARTICLES = 1  # to a message
REPLY_ARTICLES_TO_EVENT = 8
CUSTOMER_SERVICE_ARTICLES = 1  # 9.3
URL_BYTES = 1024  # 7; taken for articles too

# customer-service windows, 9.1. Whether a further message adds or resets is not said: resets (strict)
LONG_WINDOW_MESSAGES = 5
LONG_WINDOW_SECONDS = 48 * HOUR
SHORT_WINDOW_MESSAGES = 3
SHORT_WINDOW_SECONDS = 60
TYPING_SECONDS = 30  # 9.2, 45080
MSGMENU_ITEMS = 10  # 9.3: exact limit unknown

# mass send, 8.2, 8.4, 8.6
MASS_OPEN_IDS = 10_000
MASS_OPEN_IDS_LEAST = 2
MASS_PER_MONTH = 4
MASS_PER_MINUTE = 60
SUBSCRIPTION_MASS_PER_DAY = 1
TO_ALL_PER_DAY = 1
TO_ALL_PER_MONTH = 4
CLIENT_MSG_ID_BYTES = 32
CLIENT_MSG_ID_SECONDS = DAY
CLIENT_MSG_ID_RETRY_SECONDS = 60
MASS_IMAGES = 20  # 8.11, newspic; 40215
MASS_SPEEDS = {0: 80, 1: 60, 2: 45, 3: 30, 4: 10}  # in 10,000 a minute
MASS_FINISH_SECONDS = 20  # ours: how long a job takes when nothing else is said

# followers and tags, 5
FOLLOWERS_PER_PAGE = 10_000
BATCH_GET = 100
REMARK_BYTES = 29
BLACKLIST_BATCH = 20
BLACKLIST_PER_PAGE = 1_000  # or 10,000 (section 16, 9)
TAG_MEMBERS_PER_PAGE = 10_000
TAGS_PER_ACCOUNT = 100
TAGS_PER_FOLLOWER = 20
TAG_BATCH = 50
TAG_NAME_BYTES = 30
TAG_DELETE_MEMBERS = 100_000
SYSTEM_TAGS = {2: "星标组"}  # 0 and 1 exist but are never listed
SYSTEM_TAG_IDS = (0, 1, 2)

# QR codes and short keys, 6
QR_SECONDS = 2_592_000
QR_DEFAULT_SECONDS = 30
QR_PERMANENT_SCENE = 100_000
QR_PERMANENT_CODES = 100_000
QR_SCENE_CHARACTERS = 64
QR_SCENE_ID = 2**32 - 1

# menus, 7
MENU_BUTTONS = 3
MENU_SUB_BUTTONS = 5
MENU_NAME_BYTES = 16
MENU_SUB_NAME_BYTES = 60
MENU_KEY_BYTES = 128
MENU_URL_BYTES = 1024
MENU_DOMAINS = 3

# materials, 8.10 and 8.11 (10 MB or 2 MB for images: the smaller)
MEDIA_SECONDS = 3 * DAY
MEDIA_BYTES = {"image": 2 << 20, "voice": 2 << 20, "video": 10 << 20, "thumb": 64 << 10}
MEDIA_SUFFIXES = {
    "image": ("png", "jpeg", "jpg", "gif"),
    "voice": ("amr", "mp3"),
    "video": ("mp4",),
    "thumb": ("jpg", "jpeg"),
}
MATERIAL_MORE_SUFFIXES = {"image": ("bmp",), "voice": ("wma", "wav")}
MATERIAL_COUNT = {"image": 100_000, "news": 100_000, "voice": 1_000, "video": 1_000, "thumb": 1_000}
UPLOADIMG_BYTES = 1 << 20
LIST_COUNT = 20  # batchget_material, draft/batchget
DRAFT_ARTICLES = 8
DRAFT_TITLE_CHARACTERS = 32
DRAFT_AUTHOR_CHARACTERS = 8
DRAFT_DIGEST_CHARACTERS = 120
DRAFT_CONTENT_CHARACTERS = 20_000
DRAFT_CONTENT_BYTES = 1 << 20
PUBLISH_SECONDS = 10  # ours: how long a publication takes when nothing else is said

# notices, 10.2: value prefix -> what it takes. Old names (first, keyword1) are not checked
NOTICE_VALUES = {
    "thing": r".{1,20}",
    "letter": r"[A-Za-z]{1,32}",
    "character_string": r"[!-~]{1,32}",
    "number": r"-?\d{1,32}(\.\d+)?",
    "symbol": r"[^\w\s]{1,5}",
    "phone_number": r"[\d+\- ]{1,17}",
    "car_number": r".{1,8}",
    "phrase": r"[\u3400-\u9fff]{1,5}",
    "name": r"[^\u3400-\u9fff]{1,20}|.{1,10}",
    "amount": r"[¥￥$€£]?\d{1,10}(\.\d{1,2})?元?",
    "time": r"[\d年月日:/.\-~ T]{4,50}",
    "date": r"[\d年月日:/.\-~ T]{4,50}",
}
TEMPLATE_REPEAT_SECONDS = 600  # 10.1, client_msg_id

# web authorisation, 11
OAUTH_CODE_SECONDS = 300
OAUTH_PER_MINUTE = 50_000
OAUTH_STATE_BYTES = 128

# calls a Shanghai day, 14. Unpublished ones are absent: no limit is played for them
DAILY = {
    "token": 2_000,
    "stable_token": 500_000,
    "menu/create": 1_000,
    "menu/get": 10_000,
    "menu/delete": 1_000,
    "menu/addconditional": 2_000,
    "menu/delconditional": 2_000,
    "menu/trymatch": 20_000,
    "user/get": 500,
    "user/info": 500_000,  # 5,000,000 in the table, 500,000 in consoles; batchget counts here
    "user/updateremark": 10_000,
    "custom/send": 500_000,
    "mass": 100,
    "mass/delete": 10,
    "mass/preview": 100,
    "template/send": 100_000,
    "qrcode/create": 100_000,
    "media/upload": 5_000,
    "media/get": 10_000,
    "draft/add": 1_000,
    "draft/get": 500,
    "draft/delete": 1_000,
    "draft/update": 1_000,
    "draft/count": 1_000,
    "draft/batchget": 1_000,
    "freepublish/submit": 100,
    "freepublish/get": 100,
    "freepublish/delete": 10,
    "freepublish/getarticle": 100,
    "freepublish/batchget": 100,
}
PER_MINUTE = {
    "mass": MASS_PER_MINUTE,
    "stable_token": STABLE_TOKEN_PER_MINUTE,
    "oauth": OAUTH_PER_MINUTE,
}

# what each kind of account may call, 15 (doubtful cells: no). Key: (kind, verified)
_BASIC = frozenset({"basic"})
_VERIFIED = _BASIC | {"menu", "customer_service", "mass", "users", "materials", "publish"}
CAPABILITIES = {
    ("subscription", False): _BASIC,
    ("subscription", True): _VERIFIED,
    ("service", False): _BASIC,
    ("service", True): _VERIFIED
    | {"remark", "mass_open_ids", "template", "subscription", "qr", "oauth", "location"},
}

UNAVAILABLE_LINE = "该公众号暂时无法提供服务，请稍后再试"  # 1.5
