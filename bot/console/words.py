"""What operators read instead of the program's words."""

from datetime import datetime

from bot.clock import local

CAMPAIGN = {
    "draft": "草稿",
    "scheduled": "已排期",
    "stopped": "已停用",
    "finished": "已结束",
    "archived": "已归档",
}
RUN = {
    "waiting": "等待审批",
    "planning": "计算中",
    "running": "发送中",
    "paused": "已暂停",
    "finished": "已完成",
    "cancelled": "已取消",
}
DELIVERY = {
    "planned": "待发",
    "sent": "已发",
    "failed": "失败",
    "unknown": "结果未知",
    "skipped": "未触达",
}
REASON = {
    "left": "已取关",
    "opted_out": "已退订",
    "holdout": "对照组",
    "cap": "超过频次上限",
    "no_window": "不在客服窗口",
    "no_consent": "未订阅通知",
    "no_slot": "本月名额用完",
    "held_for_other": "名额留给其他活动",
    "batch_of_one": "只剩一人，平台不接受",
    "expired": "窗口已过",
    "cancelled": "已取消",
}
KIND = {
    "text": "文字",
    "image": "图片",
    "voice": "语音",
    "video": "视频",
    "short_video": "小视频",
    "location": "位置",
    "link": "链接",
    "subscribe": "关注",
    "unsubscribe": "取关",
    "scan": "扫码",
    "menu_click": "点菜单",
    "menu_view": "菜单跳转",
    "mass_finished": "群发结果",
    "location_report": "上报位置",
}
CONDITION = {"disabled": "规则已停用", "active": "不在生效时间"}


def moment(value: datetime) -> str:
    """A moment on the Shanghai clock, as lists show it."""
    return f"{local(value):%m-%d %H:%M:%S}"


FILTERS = {
    "moment": moment,
    "campaign_word": lambda word: CAMPAIGN.get(word, word),
    "run_word": lambda word: RUN.get(word, word),
    "delivery_word": lambda word: DELIVERY.get(word, word),
    "reason_word": lambda word: REASON.get(word, word),
    "kind_word": lambda word: KIND.get(word, word),
}
