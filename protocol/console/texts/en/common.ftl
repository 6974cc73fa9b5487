# Help of every program.
help-usage = Usage:
help-commands = Commands
help-options = Options
help-arguments = Arguments
help-examples = Examples:
help-global-help = Show this help
help-global-version = Show the version
help-global-json = Print results as JSON, one object a line
help-global-lang = Language of the texts (en, zh-CN)
help-global-config = Configuration file
