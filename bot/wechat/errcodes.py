"""What each errcode of the platform asks of us: one table, and ``verdict`` that reads it.

Source: docs/wechat-limits.md 13, 4, 8 and 9 (texts of the SDKs named there; read 2026-11).
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

from bot.clock import day_of, start_of_day

# what to do: repeat with back-off; renew the token; repeat after a while; correct our input;
# stop the feature and tell the operator; give up this follower or message only; nothing
RETRY, TOKEN, WAIT, FIX, STOP, DROP, OK = "retry", "token", "wait", "fix", "stop", "drop", "ok"
PERMANENT = frozenset({FIX, STOP, DROP})
# a wait of this many seconds stands for "until the next day in Shanghai"; without a clock it is an hour,
# after which asking again costs nothing
_NEXT_DAY = -1
_HOUR = 3600


@dataclass(frozen=True, slots=True)
class Verdict:
    """What to do about an errcode. ``text_zh`` tells the operator; ``wait_seconds`` is 0 where waiting is no help."""

    action: str
    wait_seconds: float
    text_zh: str

    @property
    def permanent(self) -> bool:
        """Whether repeating the same request can never succeed."""
        return self.action in PERMANENT


# codes, single or first-last; action; seconds to wait; what the operator reads
_ROWS: tuple[tuple[str, str, int, str], ...] = (
    ("0", OK, 0, "成功"),
    ("-1", RETRY, 5, "微信系统繁忙，稍后自动重试；群发时也可能是标签不存在"),
    ("40001", TOKEN, 60, "access_token 无效或不是最新的；若反复出现，请检查 AppSecret，并确认没有别的程序在刷新它"),
    ("40002", FIX, 0, "grant_type 或参数无效"),
    ("40003", DROP, 0, "OpenID 无效，或不属于这个公众号"),
    ("40004-40006", FIX, 0, "素材的类型、格式或大小不符合要求"),
    ("40007", FIX, 0, "media_id 无效：临时素材 3 天过期，或属于别的公众号，请重新上传"),
    ("40008", FIX, 0, "消息类型与内容不符"),
    ("40009-40012", FIX, 0, "图片、语音、视频或缩略图超过大小限制，或图片格式不对"),
    ("40013", STOP, 0, "AppID 无效，请核对公众号设置"),
    ("40014", TOKEN, 60, "access_token 无效"),
    ("40015-40020", FIX, 0, "菜单有误：按钮类型、数量、名称、key 或网址长度"),
    ("40021-40028", FIX, 0, "菜单有误：版本、层级或二级按钮的数量、类型、名称、key、网址"),
    ("40029", FIX, 0, "网页授权 code 无效，请重新打开链接"),
    ("40030 40163 42003", FIX, 0, "网页授权已用过或已过期，请重新打开链接"),
    ("40031 40032 40130", FIX, 0, "OpenID 列表有误：内容无效、数量超限或少于两个"),
    ("40033 47002", FIX, 0, "请求里有 \\u 转义，应使用 UTF-8"),
    ("40035 40038 40097", FIX, 0, "请求参数或格式有误"),
    ("40036 40037", FIX, 0, "模板 ID 无效"),
    ("40039 40048 40054 40055", FIX, 0, "网址无效、过长，或菜单网址的域名不被允许"),
    ("40050 40051 40117", FIX, 0, "旧分组的 ID 或名称无效"),
    ("40052 40053", FIX, 0, "二维码参数有误，或 10 万个永久二维码已用完"),
    ("40059 40060 40114", FIX, 0, "msg_id、文章序号或草稿序号无效"),
    ("40062 40092", FIX, 0, "标题过长，或备注名无效"),
    ("40118-40121", FIX, 0, "media_id 长度或按钮类型有误"),
    ("40125", STOP, 0, "AppSecret 无效：请在微信开发者平台核对或重置后，更新公众号设置"),
    ("40132 40137 40155", FIX, 0, "微信号无效、图片格式不支持，或链接指向了别的公众号主页"),
    ("40152", FIX, 0, "群发的标签不存在，请重新同步标签"),
    ("40164", STOP, 0, "服务器 IP 不在白名单：请在微信开发者平台的 IP 白名单中加入下列 IP"),
    ("40165 40166 41030", FIX, 0, "小程序的 appid 或页面路径有误"),
    ("40200", FIX, 0, "公众号类型不支持这个接口"),
    ("40201", FIX, 0, "还没有设置服务器 URL"),
    ("40202 40203", FIX, 0, "回调检测的参数有误"),
    ("40213-40215 45086", FIX, 0, "链接标签、链接文字、图片数量或小程序 appid 有误"),
    ("40243", STOP, 0, "AppSecret 已被冻结：请在微信开发者平台解冻"),
    ("40246 40247", FIX, 0, "模板关键词有误，或须使用类目模板"),
    ("40249", STOP, 0, "模板消息含营销内容，被拒绝"),
    ("41001", FIX, 0, "请求缺少 access_token"),
    ("41002-41009", FIX, 0, "请求缺少参数（appid、secret、素材、code 或 OpenID 等）"),
    ("41039 41040 45166", FIX, 0, "原文链接、原创声明或正文内容不符合要求"),
    ("42001", TOKEN, 60, "access_token 已过期"),
    ("42002 42007", FIX, 0, "授权已失效，请重新登录授权"),
    ("42010", WAIT, 120, "群发太快，几分钟后逐批重试"),
    ("43001-43003", FIX, 0, "请求方式有误（GET、POST 或 HTTPS）"),
    ("43004", DROP, 0, "对方没有关注公众号"),
    ("43005 43006", DROP, 0, "对方不是好友或已拉黑"),
    ("43019", DROP, 0, "对方在公众号的黑名单里"),
    ("43101", DROP, 0, "对方拒收消息，或没有剩余的订阅次数"),
    ("43100", STOP, 0, "本月已修改过行业"),
    ("43104 43106 43116", STOP, 0, "没有使用或添加该模板的权限"),
    ("44001-44004", FIX, 0, "素材、请求体、图文或文本内容为空"),
    ("45001-45008", FIX, 0, "内容超长：素材、正文、标题、描述、链接、语音时长或图文条数"),
    ("45009", WAIT, _NEXT_DAY, "该接口今天的调用次数已用完，次日 0 点恢复；也可在后台清零（每月 10 次）"),
    ("45010", FIX, 0, "个性化菜单数量超限"),
    ("45011", WAIT, 60, "调用太频繁，一分钟后重试"),
    ("45015", DROP, 0, "超出客服消息的回复时限，或对方已取消关注；等对方再次互动"),
    ("45016-45018", FIX, 0, "旧分组：系统分组不可改，或名称、数量超限"),
    ("45026 45027", FIX, 0, "模板数量超限，或与所在行业不符"),
    ("45028", WAIT, _NEXT_DAY, "群发次数已用完：订阅号次日恢复，服务号下月恢复"),
    ("45029 45034 45101", STOP, 0, "二维码、素材或上传数量已达上限"),
    ("45047", DROP, 0, "客服消息条数已达上限；等对方再次互动"),
    ("45048-45052", FIX, 0, "该类型的内容不能用于此处（菜单、客服、模板或群发）"),
    ("45056", FIX, 0, "公众号标签已达 100 个上限"),
    ("45057", FIX, 0, "标签下粉丝超过 10 万，须先移出再删除"),
    ("45058", FIX, 0, "系统标签不能修改或删除"),
    ("45059", FIX, 0, "该粉丝的标签已达 20 个上限"),
    ("45060 48005", FIX, 0, "素材正被菜单或自动回复使用，不能删除"),
    ("45061", WAIT, 60, "修改太频繁，稍后重试"),
    ("45062", STOP, 0, "内容含已签约的广告，只能在公众平台网页上发送"),
    ("45064", FIX, 0, "小程序没有关联到公众号"),
    ("45065", OK, 0, "这一批此前已经提交过（clientmsgid 相同）"),
    ("45066", WAIT, 60, "同一 clientmsgid 重试太快，一分钟后重试"),
    ("45067", FIX, 0, "clientmsgid 过长"),
    ("45072 45080 45081", DROP, 0, "输入状态未能设置：指令有误、30 秒内无互动，或已在输入中"),
    ("45082", FIX, 0, "网址域名须备案"),
    ("45083 45084", FIX, 0, "群发速度超出范围或缺失"),
    ("45085", RETRY, 5, "群发速度设置时服务器出错，稍后自动重试"),
    ("45087", STOP, 0, "本公众号的客服消息已被封禁，请到公众平台查看通知"),
    ("45094", STOP, 0, "因违规，用户进入会话时不能发送，请到公众平台查看通知"),
    ("45098 45099", FIX, 0, "菜单消息的选项数量或文字超限"),
    ("45102", STOP, 0, "该接口被暂时封禁，请到公众平台查看通知"),
    ("45103 45113 48009", STOP, 0, "该接口或卡券已不再支持"),
    ("45157 45158", FIX, 0, "标签名无效、重复或过长"),
    ("45159", FIX, 0, "标签不存在，请重新同步标签"),
    ("45162-45165", FIX, 0, "类型、排序或分页参数有误"),
    ("45169", RETRY, 5, "同一粉丝的标签正在修改，稍后自动重试"),
    ("45171", RETRY, 5, "部分粉丝打标签失败，只重试失败的"),
    ("45501", WAIT, _HOUR, "本应用的请求被暂时限制，稍后重试"),
    ("46001 46002 46004", FIX, 0, "素材、菜单版本或用户不存在"),
    ("46003", FIX, 0, "菜单不存在"),
    ("47001", FIX, 0, "请求内容无法解析"),
    ("47003", FIX, 0, "模板参数的值不符合要求"),
    ("48001", STOP, 0, "公众号没有这个接口的权限（类型、认证或授权），已停用该功能"),
    ("48002", DROP, 0, "对方关闭了接收消息"),
    ("48003", STOP, 0, "管理员尚未同意群发协议：请登录公众平台，在群发页面同意"),
    ("48004", STOP, 0, "接口因违规被封禁，请登录公众平台查看"),
    ("48006", STOP, 0, "本月清零次数已用完"),
    ("48008", STOP, 0, "没有发送该类型消息的权限"),
    ("48013 48014 48022", STOP, 0, "视频的来源或审核状态不允许发送，请在公众平台网页上处理"),
    ("48021", STOP, 0, "草稿最后一次是自动保存的：请在公众平台打开草稿，手动保存一次"),
    ("49003", DROP, 0, "OpenID 不属于这个 AppID"),
    ("50001", FIX, 0, "用户没有授权这个接口"),
    ("50002", STOP, 0, "公众号受限或已注销，请登录公众平台查看"),
    ("50004", STOP, 0, "公众号被禁止使用 token，请登录公众平台查看"),
    ("50005", DROP, 0, "对方没有关注公众号"),
    ("50007", STOP, 0, "公众号已被冻结，请登录公众平台查看"),
    ("53404-53406", FIX, 0, "商品功能受限、未开通或商品有误"),
    ("53500", STOP, 0, "发布功能被封禁"),
    ("53501", WAIT, 60, "发布太频繁，稍后重试"),
    ("53502 53600", FIX, 0, "publish_id 或 article_id 无效"),
    ("53503-53505", STOP, 0, "草稿未通过检查，或须在公众平台手动保存、发布"),
    ("61003-61017 61023", STOP, 0, "第三方平台授权有问题，请检查授权和 IP 登记"),
    ("61450", RETRY, 5, "客服系统繁忙，稍后自动重试"),
    ("61451-61457", FIX, 0, "客服账号的参数、名称、数量或头像有误"),
    ("61500 61501", FIX, 0, "统计日期格式或跨度有误"),
    ("61503", WAIT, 2 * _HOUR, "统计数据还没有准备好，几小时后重试"),
    ("63178 63182 63183", FIX, 0, "OpenID 转换的参数有误"),
    ("65301-65320", FIX, 0, "个性化菜单有误：菜单、匹配规则、域名或按钮不符合要求"),
    ("65400-65417", FIX, 0, "客服功能有误：未开通，或账号、会话、时间跨度不符合要求"),
    ("70000", DROP, 0, "为保护未成年人，该消息被拦截"),
    ("76001-76004 76021 76022", FIX, 0, "rid 或接口路径查询的参数有误"),
    ("87009 87014", FIX, 0, "签名无效，或内容含风险信息"),
    ("88000", STOP, 0, "没有留言功能的权限"),
    ("88001-88010", FIX, 0, "留言参数有误、不存在或超限"),
    ("89501-89505", WAIT, 1800, "等待管理员在微信里确认（30 分钟内有效）"),
    ("89506", WAIT, 24 * _HOUR, "管理员已拒绝，24 小时后才能再次申请"),
    ("89507", WAIT, _HOUR, "管理员已拒绝，1 小时后才能再次申请"),
    ("200011", STOP, 0, "公众号的订阅通知功能被封禁"),
    ("200012", FIX, 0, "模板数量已达上限"),
    ("200013", STOP, 0, "该订阅模板已被封禁"),
    ("200014-200022", FIX, 0, "订阅模板的参数有误，或已有相同模板"),
    ("200100", STOP, 0, "公众号类型不支持订阅通知"),
    ("9410010-9410012", FIX, 0, "短 key 的内容过长、有效期过长，或不存在"),
    ("9500002 268487001 268487002 268488001", RETRY, 60, "微信平台繁忙，稍后自动重试"),
)  # fmt: skip

_UNKNOWN = Verdict(STOP, 0, "未收录的错误码：请按 rid 在微信开发者平台查询")

# on the call that fetches a token these mean something else. Source: docs/wechat-limits.md 4
_ON_TOKEN_CALL = {
    40001: Verdict(STOP, 0, "AppSecret 不正确：请在微信开发者平台核对或重置后，更新公众号设置"),
    40014: Verdict(STOP, 0, "微信拒绝签发 access_token，请核对 AppID 和 AppSecret"),
    42001: Verdict(STOP, 0, "微信拒绝签发 access_token，请核对 AppID 和 AppSecret"),
}


def _codes(text: str) -> list[int]:
    codes: list[int] = []
    for part in text.split():
        first, dash, last = part.rpartition("-")
        codes += range(int(first), int(last) + 1) if dash and first else [int(part)]
    return codes


def _table() -> dict[int, tuple[str, int, str]]:
    table: dict[int, tuple[str, int, str]] = {}
    for codes, action, wait, text in _ROWS:
        for code in _codes(codes):
            if code in table:
                raise ValueError(f"errcode {code} stands in the table twice")
            table[code] = (action, wait, text)
    return table


TABLE = _table()


def verdict(errcode: int, now: datetime | None = None, *, token_call: bool = False) -> Verdict:
    """What to do about ``errcode``; unknown ones stop. With ``now`` a wait for the next day is exact.

    ``token_call``: the answer came from the call that fetches the access token.
    """
    if token_call and errcode in _ON_TOKEN_CALL:
        return _ON_TOKEN_CALL[errcode]
    found = TABLE.get(errcode)
    if found is None:
        return _UNKNOWN
    action, wait, text = found
    return Verdict(action, _until_tomorrow(now) if wait == _NEXT_DAY else wait, text)


def _until_tomorrow(now: datetime | None) -> float:
    if now is None:
        return _HOUR
    # a minute more, because the platform's midnight is not ours to the second
    tomorrow = start_of_day(day_of(now) + timedelta(days=1)) + timedelta(minutes=1)
    return (tomorrow - now).total_seconds()
