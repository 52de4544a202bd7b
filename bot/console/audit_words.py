"""What the audit log's ``thing.verb`` names are called: 修改规则, 发布菜单. A word nobody knows stays as it is."""

import re

from flask_babel import gettext as _
from flask_babel import lazy_gettext as _l

from bot.console.rule_words import place

THINGS = {
    "account": _l("公众号"),
    "allocation": _l("预算分配"),
    "article": _l("文章"),
    "campaign": _l("活动"),
    "canned": _l("快捷回复"),
    "conversation": _l("会话"),
    "dry_run": _l("试运行"),
    "fallback": _l("兜底回复"),
    "file": _l("公众号文件"),
    "follower": _l("粉丝"),
    "followers": _l("粉丝名单"),
    "job": _l("后台任务"),
    "ledger": _l("额度账本"),
    "material": _l("素材"),
    "menu": _l("菜单"),
    "operator": _l("成员"),
    "outgoing": _l("短信等其他系统"),
    "past": _l("过去的活动"),
    "plan": _l("推广方案"),
    "playbook": _l("策略"),
    "quotas": _l("接口额度"),
    "rule": _l("规则"),
    "rulebook": _l("规则集"),
    "rules": _l("规则"),
    "scene": _l("渠道二维码"),
    "segment": _l("人群"),
    "tag": _l("标签"),
    "template": _l("通知模板"),
    "token": _l("API 密钥"),
    "unmatched": _l("未匹配消息"),
    "webhook": _l("Webhook"),
}
VERBS = {
    "ask": _l("核对"),
    "add": _l("新增"),
    "adopt": _l("采用平台上的"),
    "apply": _l("应用"),
    "approve": _l("审批"),
    "override_checks": _l("放行内容检查"),
    "archive": _l("归档"),
    "assign": _l("转交"),
    "back": _l("交还"),
    "batch": _l("批量新建"),
    "cancel": _l("取消"),
    "change": _l("修改"),
    "check": _l("检查"),
    "close": _l("关闭"),
    "create": _l("新建"),
    "delete": _l("删除"),
    "discard": _l("放弃草稿："),
    "dry_run": _l("试运行"),
    "edit": _l("修改"),
    "end": _l("终止"),
    "end_sessions": _l("全部退出登录："),
    "enforce": _l("生效："),
    "erase": _l("删除资料："),
    "export": _l("导出"),
    "external": _l("说明外部群发："),
    "freeze": _l("冻结"),
    "go": _l("恢复发送："),
    "group": _l("分组"),
    "hand_back": _l("交还"),
    "ignore": _l("忽略"),
    "import": _l("导入"),
    "logo": _l("换标志："),
    "lift": _l("撤销："),
    "make": _l("生成"),
    "merge": _l("合并"),
    "move": _l("移动"),
    "off": _l("停用"),
    "opening": _l("说明期初群发："),
    "passwd": _l("换密码："),
    "pause": _l("暂停"),
    "preview": _l("发送预览："),
    "publish": _l("发布"),
    "remove": _l("移除"),
    "restore": _l("恢复"),
    "resume": _l("继续发送："),
    "readers": _l("填阅读人数："),
    "recount": _l("重算"),
    "reject": _l("驳回"),
    "retry": _l("重试"),
    "revoke": _l("吊销"),
    "roll_back": _l("回滚"),
    "rotate": _l("换密钥："),
    "save": _l("保存"),
    "schedule": _l("定时发布"),
    "scopes": _l("改可见范围："),
    "send": _l("回复"),
    "skip": _l("跳过下一波："),
    "stop": _l("紧急停止："),
    "submit": _l("提交审核："),
    "switch": _l("开关"),
    "tag": _l("打标签："),
    "take": _l("接手"),
    "tester": _l("设为测试号："),
    "totp_off": _l("关闭两步验证："),
    "totp_on": _l("打开两步验证："),
    "unfreeze": _l("解除冻结："),
    "untag": _l("去标签："),
    "winner": _l("选定版本："),
}


# what changed, where its place does not say it by itself
FIELDS = {
    "active": _l("启用"),
    "all_accounts": _l("全部公众号"),
    "cost": _l("成本"),
    "count": _l("数量"),
    "enabled": _l("启用"),
    "expires_at": _l("到期"),
    "family": _l("标签族"),
    "group": _l("分组"),
    "keys": _l("场景值"),
    "kind": _l("类型"),
    "kinds": _l("事件"),
    "last": _l("最近多少条推送"),
    "name": _l("名称"),
    "note": _l("说明"),
    "number": _l("版本"),
    "reason": _l("原因"),
    "remark": _l("备注"),
    "reply": _l("回复"),
    "role": _l("角色"),
    "rules": _l("规则"),
    "scopes": _l("权限"),
    "tag": _l("标签"),
    "tags": _l("标签"),
    "text": _l("内容"),
    "title": _l("标题"),
    "url": _l("地址"),
    "words": _l("关键词"),
}


def thing(audited: str) -> str:
    """What was changed, in words: 规则 31, 渠道二维码 store_01, 8 个渠道二维码."""
    if found := re.fullmatch(r"(\d+) scenes", audited):
        return str(_("%(count)s 个渠道二维码", count=found[1]))
    kind, colon, name = audited.partition(":")
    if kind not in THINGS:
        return audited
    return f"{THINGS[kind]} {name}" if colon else str(THINGS[kind])


def field(path: str) -> str:
    """The place of a change in words: 动作 2 · 回复 · 文字, 名称. A word nobody knows stays as it is."""
    if path.startswith(("when[", "then[")):
        return place(re.sub(r"\[(\d+)\]", lambda found: f".{int(found[1]) - 1}", path))
    return str(FIELDS.get(path, path))


def label(action: str) -> str:
    """An action in words."""
    if action == "login":
        return str(_("登录"))
    thing, dot, verb = action.partition(".")
    if not dot or thing not in THINGS or verb not in VERBS:
        return action
    return f"{VERBS[verb]}{THINGS[thing]}"
