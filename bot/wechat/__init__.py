"""The gateway: the only place that imports wechatpy. Knows no tables."""
