# 各程序的帮助。
help-usage = 用法：
help-commands = 命令
help-options = 选项
help-arguments = 参数
help-examples = 示例：
help-global-help = 显示帮助
help-global-version = 显示版本
help-global-json = 以 JSON 输出结果，每行一个对象
help-global-lang = 文本语言（en、zh-CN）
help-global-config = 配置文件
