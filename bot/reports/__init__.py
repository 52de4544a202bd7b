"""Reports (报表): one file each. A member is NAME, LABEL, Params and rows(session, account, params, now) -> Table."""
