"""Every setting, in one place. Only this file reads the environment.

Order: core, apps, database, Redis and Celery, storage, sign-in and mail, product limits, security headers, logging.
Web, worker and beat share these settings; the command line decides the role. `tenkaigen/checks.py` refuses
dangerous combinations at start.
"""

from decimal import Decimal
from pathlib import Path

import environ
import structlog
from celery.schedules import crontab
from csp.constants import NONE, SELF

BASE_DIR = Path(__file__).resolve().parent.parent
VAR_DIR = BASE_DIR / "var"

env = environ.FileAwareEnv()
# The launcher of `make run` leaves the addresses of its servers here, so that a command in another shell finds them.
environ.Env.read_env(VAR_DIR / "embedded.env", overwrite=False)

# --- Core -----------------------------------------------------------------------------------------------------------
EMBEDDED = env.bool("EMBEDDED", False)  # the servers of `make run`, on loopback: plain HTTP and a demo account are fine
DEBUG = env.bool("DEBUG", False)
SECRET_KEY = env.str("SECRET_KEY", "insecure-only-for-debug" if DEBUG else environ.Env.NOTSET)
SECRET_KEY_FALLBACKS = env.list("SECRET_KEY_FALLBACKS", default=[])
ALLOWED_HOSTS = env.list("ALLOWED_HOSTS", default=["localhost", "127.0.0.1"] if DEBUG else [])
CSRF_TRUSTED_ORIGINS = env.list("CSRF_TRUSTED_ORIGINS", default=[])
SITE_NAME = env.str("SITE_NAME", "TenkaiGen")
ROOT_URLCONF = "tenkaigen.urls"
WSGI_APPLICATION = "tenkaigen.wsgi.application"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
LANGUAGE_CODE = "en"
TIME_ZONE = "UTC"
USE_TZ = True
ADMIN_PATH = env.str("ADMIN_PATH", "admin/")
SILENCED_SYSTEM_CHECKS = [
    "auth.W004",  # e-mail is unique by a constraint on its lower case, which is stricter
    "djstripe.W002",  # a foreign STRIPE_API_HOST: ours refuses to start with one
]
ADMINS = [("Operator", address) for address in env.list("ADMINS", default=[])]

# --- Apps -----------------------------------------------------------------------------------------------------------
INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "whitenoise.runserver_nostatic",
    "django.contrib.staticfiles",
    "django_htmx",
    "django_structlog",
    "csp",
    "allauth",
    "allauth.account",
    "allauth.mfa",
    "allauth.usersessions",
    "rest_framework",
    "drf_spectacular",
    "djstripe",
    "tenkaigen",
    "accounts",
    "credits",
    "generation",
]

MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "csp.middleware.CSPMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "tenkaigen.middleware.PrivatePagesMiddleware",
    "tenkaigen.early.EarlyAnswerMiddleware",
    "tenkaigen.middleware.RequestLogMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "accounts.middleware.TeamMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
    "allauth.account.middleware.AccountMiddleware",
    "accounts.middleware.ClosedPersonMiddleware",
    "accounts.middleware.StaffMfaMiddleware",
    "generation.middleware.VisitMiddleware",
    "generation.middleware.ApiCountMiddleware",
    "tenkaigen.busy.BusyMiddleware",
]

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "tenkaigen.context.site",
                "accounts.context.team",
                "credits.context.balance",
            ],
        },
    },
]

# --- Database -------------------------------------------------------------------------------------------------------
DATABASES = {"default": env.db_url("DATABASE_URL")}
DATABASES["default"]["CONN_MAX_AGE"] = env.int("CONN_MAX_AGE_SECONDS", 60)
DATABASES["default"]["CONN_HEALTH_CHECKS"] = True
DATABASES["default"].setdefault("OPTIONS", {})["options"] = " ".join(
    f"-c {name}={value}"
    for name, value in {
        # A worker that hangs inside a transaction would hold its row lock, and SKIP LOCKED would skip it, for ever.
        "idle_in_transaction_session_timeout": env.str("DB_IDLE_IN_TRANSACTION_TIMEOUT", "10s"),
        "lock_timeout": env.str("DB_LOCK_TIMEOUT", "3s"),
        "statement_timeout": env.str("DB_STATEMENT_TIMEOUT", "30s"),
    }.items()
)
# A server that is gone without a word is noticed in a minute, not in the two hours of the kernel's default.
DATABASES["default"]["OPTIONS"] = {
    "connect_timeout": 10,  # seconds, as the next two
    "keepalives_idle": 30,
    "keepalives_interval": 10,
    "keepalives_count": 3,
    "tcp_user_timeout": 30_000,  # milliseconds
} | DATABASES["default"]["OPTIONS"]

# The shipped ones take minutes on an empty database (docs/decisions/0008-dj-stripe-with-migrations-of-our-own.md).
MIGRATION_MODULES = {"djstripe": "tenkaigen.djstripe.migrations"}

# --- Redis and Celery -----------------------------------------------------------------------------------------------
REDIS_URL = env.str("REDIS_URL")
# Without socket_timeout the health checks never get a chance to run and a half-open connection hangs for ever.
REDIS_OPTIONS = {
    "socket_timeout": 5,
    "socket_connect_timeout": 2,
    "socket_keepalive": True,
    "health_check_interval": 10,
}
# For what a page asks on its way, and can do without.
REDIS_OPTIONS_OF_PAGES = REDIS_OPTIONS | {"socket_timeout": 1, "socket_connect_timeout": 1}
CACHES = {
    "default": {
        "BACKEND": "tenkaigen.cache.ForgivingRedisCache",
        "LOCATION": REDIS_URL,
        "KEY_PREFIX": "cache",
        "OPTIONS": REDIS_OPTIONS_OF_PAGES,
    }
}
CACHES["sessions"] = CACHES["default"] | {"BACKEND": "tenkaigen.cache.SessionCache", "KEY_PREFIX": "sessions"}

CELERY_BROKER_URL = REDIS_URL
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_BROKER_CONNECTION_TIMEOUT = 2
CELERY_TASK_IGNORE_RESULT = True
CELERY_ACCEPT_CONTENT = ["json"]
CELERY_TASK_DEFAULT_QUEUE = "default"
CELERY_TASK_ACKS_LATE = True
CELERY_WORKER_PREFETCH_MULTIPLIER = 1
CELERY_WORKER_CANCEL_LONG_RUNNING_TASKS_ON_CONNECTION_LOSS = False
CELERY_TASK_ROUTES = {"generation.drain": {"queue": "gpu"}}
CELERY_WORKER_HIJACK_ROOT_LOGGER = False

# --- Storage --------------------------------------------------------------------------------------------------------
STORAGE_PREFIX = env.str("B2_S3_PREFIX", "").strip("/") or "ai-generated"
SIGNED_URL_SECONDS = 300
IMAGE_ORIGINS = env.list("IMAGE_ORIGINS", default=[])  # where else pages may show pictures from
B2_S3_BUCKET = env.str("B2_S3_BUCKET", "")
if B2_S3_BUCKET:
    B2_S3_ENDPOINT = env.str("B2_S3_ENDPOINT").rstrip("/")
    if "://" not in B2_S3_ENDPOINT:  # as Backblaze shows it
        B2_S3_ENDPOINT = f"https://{B2_S3_ENDPOINT}"
    B2_S3_CDN_DOMAIN = env.str("B2_S3_CDN_DOMAIN", "").rpartition("://")[2].strip("/")  # a whole address will do
    IMAGE_ORIGINS += [f"https://{B2_S3_CDN_DOMAIN}" if B2_S3_CDN_DOMAIN else B2_S3_ENDPOINT]
    IMAGE_STORAGE = {
        "BACKEND": "generation.s3.PrivateBucket",  # what is the same for every bucket stands there
        "OPTIONS": {
            "endpoint_url": B2_S3_ENDPOINT,
            "region_name": env.str("B2_S3_REGION"),
            "bucket_name": B2_S3_BUCKET,
            "access_key": env.str("B2_S3_ACCESS_KEY_ID"),
            "secret_key": env.str("B2_S3_SECRET_ACCESS_KEY"),
            "cdn_domain": B2_S3_CDN_DOMAIN,
        },
    }
else:
    IMAGE_STORAGE = {
        "BACKEND": "generation.storage.SignedFileSystemStorage",
        "OPTIONS": {"location": env.str("IMAGE_DIR", str(VAR_DIR / "images"))},
    }
STORAGES = {
    "default": IMAGE_STORAGE,
    "staticfiles": {
        "BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"
        if EMBEDDED or DEBUG
        else "whitenoise.storage.CompressedManifestStaticFilesStorage"
    },
}
STATIC_URL = "static/"
STATIC_ROOT = BASE_DIR / "staticfiles"
STATICFILES_DIRS = [BASE_DIR / "static"]
WHITENOISE_USE_FINDERS = EMBEDDED or DEBUG  # a newcomer's start has no collectstatic to wait for
MODELS_DIR = Path(env.str("TENKAIGEN_MODELS_DIR", str(VAR_DIR / "models")))
ADAPTER_DIR = Path(env.str("ADAPTER_DIR", str(MODELS_DIR / ".adapters")))  # copies of people's own, on a GPU node
ADAPTER_CACHE_BYTES = env.int("ADAPTER_CACHE_BYTES", 4 * 10**9)
TRAINING_DIR = Path(env.str("TRAINING_DIR", str(MODELS_DIR / ".trainings")))  # pictures, while a model learns from them

# --- Sign-in and mail -----------------------------------------------------------------------------------------------
AUTH_USER_MODEL = "accounts.User"
AUTHENTICATION_BACKENDS = ["allauth.account.auth_backends.AuthenticationBackend"]
PASSWORD_HASHERS = [
    "django.contrib.auth.hashers.ScryptPasswordHasher",
    "django.contrib.auth.hashers.PBKDF2PasswordHasher",
]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "accounts.passwords.LongEnough", "OPTIONS": {"min_length": 10}},
    {"NAME": "accounts.passwords.NotLikeTheAddress"},
    {"NAME": "accounts.passwords.NotCommon"},
]
# The embedded servers send no mail unless told how: what a mail would say, pages say, and addresses are believed.
MAIL_IS_SHOWN = EMBEDDED and not env.str("EMAIL_URL", "")
EMAIL_CONFIRMATION = env.bool("EMAIL_CONFIRMATION", not MAIL_IS_SHOWN)
STAFF_MFA = env.bool("STAFF_MFA", not EMBEDDED)  # staff need two-step sign-in to reach the admin
MFA_ADAPTER = "accounts.adapter.MfaAdapter"
MFA_RECOVERY_CODE_COUNT = 10
# By address a request comes from ("ip") and by account ("key"), in the cache: docs/operations/accounts.md.
ACCOUNT_RATE_LIMITS = {"login": "30/m/ip", "login_failed": "10/m/ip,5/300s/key", "signup": "20/m/ip"}
ALLAUTH_TRUSTED_PROXY_COUNT = 1 if env.bool("BEHIND_PROXY", False) else 0
ACCOUNT_LOGIN_ON_EMAIL_CONFIRMATION = True  # in the browser of the sign-up only
ACCOUNT_EMAIL_NOTIFICATIONS = True  # of a changed password, a new second step
ACCOUNT_ADAPTER = "accounts.adapter.AccountAdapter"
ACCOUNT_USER_MODEL_USERNAME_FIELD = None
ACCOUNT_LOGIN_METHODS = {"email"}
ACCOUNT_SIGNUP_FIELDS = ["email*", "password1*"]
ACCOUNT_EMAIL_VERIFICATION = "mandatory" if EMAIL_CONFIRMATION else "none"
ACCOUNT_EMAIL_SUBJECT_PREFIX = ""
ACCOUNT_LOGOUT_ON_GET = False
ACCOUNT_SESSION_REMEMBER = True
ACCOUNT_PREVENT_ENUMERATION = True
LOGIN_URL = "account_login"
LOGIN_REDIRECT_URL = "generation:studio"
ACCOUNT_LOGOUT_REDIRECT_URL = "generation:landing"
EMAIL_CONFIG = env.email_url("EMAIL_URL", default="consolemail://")
vars().update(EMAIL_CONFIG)
DEFAULT_FROM_EMAIL = env.str("DEFAULT_FROM_EMAIL", "TenkaiGen <no-reply@localhost>")
SERVER_EMAIL = DEFAULT_FROM_EMAIL

# --- REST interface -------------------------------------------------------------------------------------------------
REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": [
        "accounts.authentication.ApiKeyAuthentication",
        "rest_framework.authentication.SessionAuthentication",
    ],
    "DEFAULT_PERMISSION_CLASSES": ["accounts.access.MayAct"],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_PARSER_CLASSES": ["tenkaigen.api.SmallJSONParser"],
    "DEFAULT_THROTTLE_CLASSES": ["tenkaigen.api.TeamThrottle"],
    "DEFAULT_SCHEMA_CLASS": "drf_spectacular.openapi.AutoSchema",
    "EXCEPTION_HANDLER": "tenkaigen.api.exception_handler",
    "UNAUTHENTICATED_USER": "django.contrib.auth.models.AnonymousUser",
}
SPECTACULAR_SETTINGS = {
    "TITLE": "TenkaiGen",
    "DESCRIPTION": "A sentence goes in, pictures come out.",
    "VERSION": "1",
    "OAS_VERSION": "3.1.0",  # 3.0 cannot say "this object or null"
    "SERVE_INCLUDE_SCHEMA": False,
    "ENUM_NAME_OVERRIDES": {"PurchaseKind": "credits.models.billing.Purchase.Kind"},  # entries have kinds, too
    "SCHEMA_PATH_PREFIX": "/api/v1",
    "SERVE_PERMISSIONS": ["rest_framework.permissions.AllowAny"],
}

# --- Product limits: every one with its unit ------------------------------------------------------------------------
WELCOME_BONUS = env.bool("WELCOME_BONUS", True)  # how much it is stands in the price list
LOW_CREDIT_CENTI = (5_000, 1_000)  # a team is told when it falls below each of these
EXPIRY_NOTICE_DAYS = 3
GRACE_DAYS = 7  # a deleted team or person can be restored so long
INVITATION_DAYS = 7
ACTIVITY_DAYS = env.int("ACTIVITY_DAYS", 365)  # the activity log of a team is kept so long
IMAGE_LIFETIME_DAYS = env.int("IMAGE_LIFETIME_DAYS", 90)
API_REQUESTS_PER_MINUTE = env.int("API_REQUESTS_PER_MINUTE", 120)  # of one team
API_BODY_BYTES_MAX = 262_144
QUEUE_LENGTH_MAX = env.int("QUEUE_LENGTH_MAX", 100_000)  # queued jobs of everybody; of one team: its plan says
QUEUE_AGEING_SECONDS = env.float("QUEUE_AGEING_SECONDS", 6)  # so long a wait is worth one point of plan priority
QUEUE_TURN_SECONDS = env.float("QUEUE_TURN_SECONDS", 60)  # whoever was not served for so long is first of its equals
TRAINING_BASE_MODEL = env.str("TRAINING_BASE_MODEL", "starter")  # of reference models that name none
TRAINING_CHECKPOINT_STEPS = env.int("TRAINING_CHECKPOINT_STEPS", 50)  # so much work a killed training loses at most
TRAINING_SAMPLE_STEPS = env.int("TRAINING_SAMPLE_STEPS", 100)  # between two rounds of sample pictures
TRAINING_SECONDS_MAX = env.int("TRAINING_SECONDS_MAX", 7200)  # of one attempt; its checkpoints count for the next
TRAINING_HANG_SECONDS = env.float("TRAINING_HANG_SECONDS", 240)  # as HANG_SECONDS; samples are drawn between two steps
# Of training pictures and trained versions, which do not expire.
MODELS_PREFIX = env.str("MODELS_PREFIX", "models").strip("/") or "models"
DRAFT_DAYS = 30  # a model that nobody trained is forgotten after so long
TRAININGS_PER_TEAM_MAX = env.int("TRAININGS_PER_TEAM_MAX", 1)  # of each kind at a time; of images: the plan says
JOB_QUEUES = {"image": "gpu", "creation": "train", "refinement": "train"}  # whose bell rings for which kind of job
NO_WORKER_SECONDS = env.float("NO_WORKER_SECONDS", 60)  # a restart is no reason for an alarm
NO_WORKER_ALARM_SECONDS = env.int("NO_WORKER_ALARM_SECONDS", 900)  # between two alarms about one model
JOB_ATTEMPTS_MAX = env.int("JOB_ATTEMPTS_MAX", 3)
JOB_SECONDS_MAX = env.int("JOB_SECONDS_MAX", 900)  # a job that has run longer has hung
LEASE_SECONDS = env.float("LEASE_SECONDS", 45)
HEARTBEAT_SECONDS = env.float("HEARTBEAT_SECONDS", 10)
STALL_SECONDS = env.float("STALL_SECONDS", 300)  # a device that shows no progress for so long loses its lease
SWEEP_SECONDS = env.float("SWEEP_SECONDS", 10)
IDLE_POLL_SECONDS = env.float("IDLE_POLL_SECONDS", 3)  # a GPU worker that hears no bell looks by itself
RETRY_BASE_SECONDS = env.float("RETRY_BASE_SECONDS", 5)
RETRY_SECONDS_MAX = env.float("RETRY_SECONDS_MAX", 300)
DRAIN_SECONDS_MAX = 60  # one bell's work; the rest is rung for again
POST_QUEUE_BATCHES_MAX = 4
POST_THREADS = env.int("POST_THREADS", 4)  # deliveries on their way at once; each waits for its store
UPLOAD_THREADS = env.int("UPLOAD_THREADS", 12)  # files on their way at once
CLAIM_AHEAD_SECONDS = env.float("CLAIM_AHEAD_SECONDS", 2)  # the next batch is claimed so long before the device is free
HANG_SECONDS = env.float("HANG_SECONDS", 120)  # a device call that shows no step for so long ends the process
LOAD_SECONDS_MAX = env.float("LOAD_SECONDS_MAX", 900)  # of one model, the compiler included
DEVICE_MEMORY_BYTES = env.int("DEVICE_MEMORY_BYTES", 0)  # for models; 0: nine tenths of what the device has
RESIDENT_JOBS_MAX = env.int("RESIDENT_JOBS_MAX", 10)  # jobs of the models a device holds, before others get their turn
RESIDENT_SECONDS_MAX = env.float("RESIDENT_SECONDS_MAX", 30)  # nobody waits longer for a model that is not held
WARM_UP = env.bool("WARM_UP", True)  # draw a picture, and measure batches, before the first claim
WARM_UP_SECONDS_MAX = env.float("WARM_UP_SECONDS_MAX", 60)  # no further size is measured after that
BATCH_GAIN_MIN = 1.05  # a larger batch must make a picture so much cheaper than the next smaller one
BATCH_SLOWDOWN_MAX = 2.0  # and no picture may take so many times as long because of its company
NODE_KEEP_HOURS = env.int("NODE_KEEP_HOURS", 24)  # rows of workers that are gone
STORE_TRIES_MAX = 4
STORE_RETRY_SECONDS = env.float("STORE_RETRY_SECONDS", 0.5)
HOLD_SECONDS = {  # by kind of job: then the sweep asks whether the job still lives
    "image": env.int("HOLD_SECONDS_IMAGE", 3600),
    "creation": env.int("HOLD_SECONDS_TRAINING", 6 * 3600),
    "refinement": env.int("HOLD_SECONDS_TRAINING", 6 * 3600),
}
FAILPOINTS = env.str("FAILPOINTS", "")  # tenkaigen.failpoints; a check refuses it in production
FAILPOINT_LOG = env.str("FAILPOINT_LOG", "")
RATE_LIMITS = env.bool("RATE_LIMITS", True)  # requests an hour and seconds between two, as the plan says
STATUS_TOKEN_SECONDS = 600
ORPHAN_AGE_HOURS = env.int("ORPHAN_AGE_HOURS", 24)
GALLERY_PAGE = 24
PROGRESS_SECONDS = 0.25  # least time between two messages about one job's steps
CANCEL_LOOK_SECONDS = 0.05  # least time between two looks whether somebody canceled what is drawn
ENGINE = env.str("ENGINE", "generation.engine")  # the module whose build(device) makes the engine; tests name a fake
ENGINE_OPTIONS = {  # see `generation.engine.build`, which explains each
    "channels_last": env.bool("ENGINE_CHANNELS_LAST", True),
    "compile_blocks": env.bool("ENGINE_COMPILE_BLOCKS", False),
    "attention": env.str("ENGINE_ATTENTION", ""),
    "precision": env.str("ENGINE_PRECISION", ""),
    "prompt_cache_bytes": env.int("ENGINE_PROMPT_CACHE_BYTES", 64 * 2**20),
    "loras_max": env.int("ENGINE_LORAS_MAX", 8),
}
WORKER_MODELS = env.list("WORKER_MODELS", default=["starter"])
# A redelivered bell is harmless, so the timeout only has to be longer than one drain.
CELERY_BROKER_TRANSPORT_OPTIONS = {"visibility_timeout": 2 * JOB_SECONDS_MAX, **REDIS_OPTIONS}
CELERY_BEAT_SCHEDULE = {
    "write counts": {"task": "generation.write_counts", "schedule": 60.0},
    "sweep jobs": {"task": "generation.sweep", "schedule": SWEEP_SECONDS},
    "clean up expired images": {"task": "generation.cleanup_images", "schedule": 3600.0},
    "clean up models": {"task": "generation.cleanup_models", "schedule": 3600.0},
    "clean up accounts": {"task": "accounts.clean_up", "schedule": 3600.0},
    "work off the billing inbox": {"task": "credits.work_inbox", "schedule": 60.0},
    "grant months of paid years": {"task": "credits.settle_years", "schedule": 3600.0},
    "compare with Stripe": {"task": "credits.sync_billing", "schedule": 86_400.0},
    "replenish credits": {"task": "credits.replenish", "schedule": 3600.0},
    "expire credits": {"task": "credits.expire", "schedule": 3600.0},
    "notify of credits": {"task": "credits.notify", "schedule": 600.0},
    "audit credits": {"task": "credits.audit", "schedule": crontab(hour=3, minute=30)},  # of TIME_ZONE
}

# --- Prompt expansion by Gemini: off without a key, see docs/prompt-expansion.md -------------------------------------
GEMINI_API_KEY = env.str("GEMINI_API_KEY", "")
GEMINI_MODEL = env.str("GEMINI_MODEL", "gemini-flash-latest")
GEMINI_BASE_URL = env.str("GEMINI_BASE_URL", "")  # empty: Google's
GEMINI_SECONDS_MAX = env.float("GEMINI_SECONDS_MAX", 8)  # in all, the retry included
GEMINI_CALLS_MAX = env.int("GEMINI_CALLS_MAX", 3)  # at a time in one process: fewer than it has threads
GEMINI_THINKING_TOKENS = env.int("GEMINI_THINKING_TOKENS", 0)  # -1: as the model likes
GEMINI_TOKENS_PER_TEAM_DAY = env.int("GEMINI_TOKENS_PER_TEAM_DAY", 200_000)  # in and out, a UTC day
EXPANSION_WAIT_SECONDS = GEMINI_SECONDS_MAX + 1  # a submitted job waits so long for better words

# --- Remote GPU providers: see docs/operations/remote-providers.md ---------------------------------------------------
SITE_URL = env.str("SITE_URL", "").rstrip("/")  # where providers call back; empty: they are asked instead
# Only names with this prefix: staff who edit a provider's row can send no other secret of this server anywhere.
PROVIDER_SECRETS = {
    name.removeprefix("PROVIDER_SECRET_"): env.str(name).strip()
    for name in list(env.ENVIRON)
    if name.startswith("PROVIDER_SECRET_") and not name.endswith("_FILE")
}
REMOTE_TICK_SECONDS = env.float("REMOTE_TICK_SECONDS", 1)  # how often a remote worker looks what is due
REMOTE_CALLS_MAX = env.int("REMOTE_CALLS_MAX", 8)  # at a time in one process
REMOTE_RETRY_SECONDS = env.float("REMOTE_RETRY_SECONDS", 2)  # before a call is made again; doubles
PROVIDER_WEBHOOKS_PER_MINUTE = env.int("PROVIDER_WEBHOOKS_PER_MINUTE", 600)  # of one address for one provider

# --- Stripe: billing is off without a key, see docs/operations/billing.md --------------------------------------------
STRIPE_SECRET_KEY = env.str("STRIPE_SECRET_KEY", "")
STRIPE_LIVE_MODE = "_live_" in STRIPE_SECRET_KEY
STRIPE_API_VERSION = "2026-05-27.dahlia"  # the shapes that `credits.billing.shapes` reads; the endpoint has it, too
if env.str("STRIPE_API_HOST", ""):  # the fake Stripe of `BILLING=fake make run`; dj-stripe asks whether it is there
    STRIPE_API_HOST = env.str("STRIPE_API_HOST")
STRIPE_CALL_SECONDS_MAX = env.float("STRIPE_CALL_SECONDS_MAX", 8)  # below what a transaction may idle: see DATABASES
# Where a form of ours may lead: browsers hold redirects against `form-action`, too.
STRIPE_PAGES = [env.str("STRIPE_API_HOST", "")] if env.str("STRIPE_API_HOST", "") else []
STRIPE_PAGES = STRIPE_PAGES or ["https://checkout.stripe.com", "https://billing.stripe.com"]
DJSTRIPE_SUBSCRIBER_MODEL = "accounts.Team"
DJSTRIPE_FOREIGN_KEY_TO_FIELD = "id"

# --- Seeing it run: see docs/operations/monitoring.md -----------------------------------------------------------------
METRICS_TOKEN = env.str("METRICS_TOKEN", "")  # `Authorization: Bearer ...` for /metrics; empty: only staff may look
PRICE_CURRENCY = env.str("PRICE_CURRENCY", "USD")
DEVICE_PRICE_PER_HOUR = Decimal(env.str("DEVICE_PRICE_PER_HOUR", "0"))  # of one device, in PRICE_CURRENCY; 0: not known
STORAGE_PRICE_PER_GB_MONTH = Decimal(env.str("STORAGE_PRICE_PER_GB_MONTH", "0"))  # 10^9 bytes for 30 days

# --- Security headers -----------------------------------------------------------------------------------------------
CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": [NONE],
        "script-src": [SELF],
        "style-src": [SELF],
        "img-src": [SELF, "data:", *IMAGE_ORIGINS],
        "font-src": [SELF],
        "connect-src": [SELF],
        "form-action": [SELF, *(STRIPE_PAGES if STRIPE_SECRET_KEY else [])],
        "manifest-src": [SELF],
        "frame-ancestors": [NONE],
        "base-uri": [NONE],
    }
}
HTTPS = not (EMBEDDED or DEBUG)
SECURE_SSL_REDIRECT = env.bool("SECURE_SSL_REDIRECT", HTTPS)
SECURE_REDIRECT_EXEMPT = [r"^healthz$", r"^readyz$"]
SECURE_HSTS_SECONDS = 31_536_000 if HTTPS else 0
SECURE_HSTS_INCLUDE_SUBDOMAINS = HTTPS
SECURE_HSTS_PRELOAD = HTTPS
SECURE_REFERRER_POLICY = "same-origin"
SECURE_CROSS_ORIGIN_OPENER_POLICY = "same-origin"
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if env.bool("BEHIND_PROXY", False) else None
SESSION_ENGINE = "django.contrib.sessions.backends.cached_db"
SESSION_CACHE_ALIAS = "sessions"
SESSION_COOKIE_SECURE = HTTPS
SESSION_COOKIE_NAME = "__Host-session" if HTTPS else "session"
CSRF_COOKIE_SECURE = HTTPS
CSRF_COOKIE_NAME = "__Host-csrf" if HTTPS else "csrf"
CSRF_COOKIE_HTTPONLY = True
CSRF_FAILURE_VIEW = "tenkaigen.views.csrf_failure"
X_FRAME_OPTIONS = "DENY"
DATA_UPLOAD_MAX_MEMORY_SIZE = 1_000_000  # bytes; no request of today is larger

# --- Logging: one JSON object a line, with request and job ids, without prompts or secrets --------------------------
LOG_LEVEL = env.str("LOG_LEVEL", "INFO")
LOG_FORMAT = env.str("LOG_FORMAT", "json")
SHARED_PROCESSORS: list[structlog.typing.Processor] = [
    structlog.contextvars.merge_contextvars,
    structlog.stdlib.add_logger_name,
    structlog.stdlib.add_log_level,
    structlog.processors.TimeStamper(fmt="iso", utc=True),
    structlog.processors.StackInfoRenderer(),
    structlog.processors.format_exc_info,
]
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "filters": {"alarms": {"()": "tenkaigen.alarms.OnlyAlarms"}},
    "formatters": {
        "json": {
            "()": structlog.stdlib.ProcessorFormatter,
            "foreign_pre_chain": SHARED_PROCESSORS,
            "processor": structlog.processors.JSONRenderer()
            if LOG_FORMAT == "json"
            else structlog.dev.ConsoleRenderer(colors=False),
        }
    },
    "handlers": {
        "console": {"class": "logging.StreamHandler", "formatter": "json"},
        "mail": {
            "class": "django.utils.log.AdminEmailHandler",
            "filters": ["alarms"],
            "level": "ERROR",
        },
    },
    "root": {"handlers": ["console", "mail"], "level": LOG_LEVEL},
    "loggers": {
        "django": {"handlers": [], "propagate": True, "level": "INFO"},
        "django.server": {"handlers": [], "propagate": True},
        # On a newcomer's screen every poll of every card would push the address away.
        "django_structlog": {"level": "INFO" if LOG_FORMAT == "json" else "WARNING"},
        # "Received" and "succeeded" of every sweep say nothing.
        "celery.worker.strategy": {"level": "WARNING"},
        "celery.app.trace": {"level": "WARNING"},
        "stripe": {"level": "WARNING"},  # two lines for each call
    },
}
structlog.configure(
    processors=[*SHARED_PROCESSORS, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
    logger_factory=structlog.stdlib.LoggerFactory(),
    wrapper_class=structlog.stdlib.BoundLogger,
    cache_logger_on_first_use=True,
)
DJANGO_STRUCTLOG_USER_ID_FIELD = None
