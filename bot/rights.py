"""Who may do what: the rights an operator's role gives, and the scopes an API token may carry. Pure data.

A right is ``thing.verb``. One list serves console, command line and API.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

Label = Mapping[str, str]


def _label(zh: str, en: str) -> Label:
    return MappingProxyType({"zh": zh, "en": en})


RIGHTS: Mapping[str, Label] = MappingProxyType(
    {
        "home.read": _label("看首页数字", "See the home page"),
        "followers.read": _label("查看粉丝", "See followers"),
        "followers.write": _label("修改粉丝的标签、备注和字段", "Change followers"),
        "followers.export": _label("导出和导入粉丝", "Export and import followers"),
        "followers.erase": _label("删除一个人的资料", "Erase a person"),
        "followers.open_id": _label("看到完整的 OpenID", "See whole OpenIDs"),
        "tags.read": _label("查看标签", "See tags"),
        "tags.write": _label("新建、改名、合并标签", "Change tags"),
        "rules.read": _label("查看自动回复规则", "See rules"),
        "rules.write": _label("修改规则草稿", "Edit rule drafts"),
        "rules.publish": _label("发布和回滚规则", "Publish and roll back rules"),
        "scenes.read": _label("查看渠道二维码和数据", "See QR channels and their figures"),
        "scenes.write": _label("新建和修改渠道二维码", "Change QR channels"),
        "menus.read": _label("查看自定义菜单", "See menus"),
        "menus.write": _label("修改自定义菜单", "Edit menus"),
        "menus.publish": _label("发布自定义菜单", "Publish menus"),
        "messages.read": _label("查看会话", "See conversations"),
        "messages.reply": _label("在会话中回复", "Reply in conversations"),
        "segments.read": _label("查看人群", "See segments"),
        "segments.write": _label("新建和修改人群", "Change segments"),
        "campaigns.read": _label("查看营销活动", "See campaigns"),
        "campaigns.brief": _label("提交活动需求", "Hand in a brief"),
        "campaigns.write": _label("新建、修改和提交营销活动", "Write and submit campaigns"),
        "campaigns.approve": _label("审核营销活动", "Approve campaigns"),
        "campaigns.stop": _label("暂停、取消和紧急停止发送", "Pause, cancel and stop sending"),
        "materials.read": _label("查看素材和文章", "See materials and articles"),
        "materials.write": _label("上传素材、写文章和发布", "Change materials and articles"),
        "ledger.read": _label("查看额度账本和群发日历", "See the ledger and the calendar"),
        "ledger.write": _label("登记平台上的群发、重算账本", "State sends made elsewhere, recount"),
        "quotas.read": _label("查看接口额度", "See API quotas"),
        "reports.read": _label("查看报表", "See reports"),
        "account.write": _label("修改公众号设置", "Change the account"),
        "accounts.add": _label("接入公众号", "Add official accounts"),
        "operators.write": _label("管理成员与角色", "Manage people"),
        "audit.read": _label("查看审计日志", "Read the audit log"),
        "jobs.read": _label("查看后台任务", "See background jobs"),
        "tokens.write": _label("管理 API 密钥", "Manage API tokens"),
        "webhooks.write": _label("管理 Webhook", "Manage webhooks"),
    }
)

EVERYTHING = frozenset(RIGHTS)
# what nobody but an administrator may do: it reaches beyond one account
ADMIN_ONLY = frozenset({"accounts.add", "operators.write"})
READING = frozenset(right for right in RIGHTS if right.endswith(".read"))


@dataclass(frozen=True, slots=True)
class Role:
    label: Label
    rights: frozenset[str]


ROLES: Mapping[str, Role] = MappingProxyType(
    {
        "admin": Role(_label("管理员", "Administrator"), EVERYTHING),
        "lead": Role(_label("运营主管", "Lead"), EVERYTHING - ADMIN_ONLY),
        "operator": Role(
            _label("运营", "Operator"),
            EVERYTHING
            - ADMIN_ONLY
            - {
                "followers.erase",
                "followers.open_id",
                "campaigns.approve",
                "account.write",
                "audit.read",
                "tokens.write",
                "webhooks.write",
            },
        ),
        # 客服 works with people, and sees no models, exports or rules
        "agent": Role(
            _label("客服", "Agent"),
            frozenset(
                {
                    "home.read",
                    "followers.read",
                    "followers.write",
                    "tags.read",
                    "messages.read",
                    "messages.reply",
                }
            ),
        ),
        "requester": Role(
            _label("市场部", "Requester"),
            frozenset({"home.read", "campaigns.read", "campaigns.brief", "reports.read"}),
        ),
        # sees only the QR codes of the own scope, and nothing else of the account
        "channel": Role(_label("渠道负责人", "Channel owner"), frozenset({"scenes.read"})),
        "viewer": Role(
            _label("只读", "Viewer"), READING - {"messages.read", "audit.read", "jobs.read"}
        ),
        "developer": Role(
            _label("API 开发", "API developer"),
            (READING - {"messages.read"}) | {"rules.write", "tokens.write", "webhooks.write"},
        ),
    }
)


def rights_of(role: str) -> frozenset[str]:
    """The rights of a role; none for a role nobody knows."""
    found = ROLES.get(role)
    return found.rights if found is not None else frozenset()


def unknown(rights: Iterable[str]) -> list[str]:
    """Those names that are no rights, sorted."""
    return sorted(set(rights) - EVERYTHING)
