"""The demo brand 沐颜集: its account file, its followers with planted truth, and a month played on the sandbox."""
