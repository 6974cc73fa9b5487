# 终端：帮助、提示、凭条、历史、自检。

help-terminal = 受理非接触电子钱包付款，联机或脱机
    .examples =
        terminal init                  生成带注释的 terminal.toml 和空日记账
        terminal doctor                检查读卡器、SAM 卡、时钟、磁盘和日记账
        terminal sale 12.50            从下一张卡收款 12.50
        terminal --json history        以 JSON 列出所有付款
help-terminal-init = 生成带注释的配置和空日记账
    .examples =
        terminal init
        terminal --config /etc/tapline/terminal.toml init
        terminal init --print > compare.toml
help-terminal-init-print = 只显示默认配置，不写入
help-terminal-balance = 显示卡内余额
    .examples =
        terminal balance
        terminal --json balance --wait 5
help-terminal-balance-wait = 等待刷卡的秒数
help-terminal-sale = 从卡内钱包收款
    .examples =
        terminal sale 12.50
        terminal sale 3 --wait 60
        terminal --json sale 12.50
help-terminal-sale-amount = 以终端货币计的金额，例如 12.50
help-terminal-sale-wait = 等待刷卡的秒数
help-terminal-topup = 凭密码向卡内钱包充值
    .examples =
        terminal topup 100.00
        TAPLINE_PIN=… terminal --json topup 50
        pin-pad | terminal topup 100.00 --wait 60
help-terminal-topup-amount = 以终端货币计的金额，例如 100.00
help-terminal-topup-wait = 等待刷卡的秒数
help-terminal-upload = 将所有待送内容发送给收单方网关
    .examples =
        terminal upload
        terminal upload --with-open
        terminal --json upload
help-terminal-upload-with-open = 同时将未再刷卡的中断付款按“结果未知”上送
help-terminal-settle = 发送待送内容，与网关核对批次总计并结清
    .examples =
        terminal settle
        terminal --json settle
help-terminal-provision = 导入收单方的终端开通文件：身份、网关和密钥
    .examples =
        terminal provision T0000001.toml
        terminal provision T0000001.toml < one-time-code
        terminal provision other.toml --replace
help-terminal-provision-file = 收单方“terminal add”生成的文件；一次性代码将提示输入，或取自 TAPLINE_CODE
help-terminal-provision-replace = 更换为另一终端身份
help-terminal-history = 列出和查找付款
    .examples =
        terminal history
        terminal history --uncertain
        terminal history 12.50 --from 2026-11-01 --limit 20
        terminal history --receipt 17
help-terminal-history-search = 要查找的文字：金额、卡号末尾、TAC、序号、日期
help-terminal-history-from = 起始日期，YYYY-MM-DD
help-terminal-history-to = 截止日期，YYYY-MM-DD
help-terminal-history-uncertain = 只列结果未知的付款
help-terminal-history-limit = 最多列出的付款数，最新的在前
help-terminal-history-receipt = 重新显示这笔付款的凭条
help-terminal-doctor = 检查付款所需的一切，并说明如何处理
    .examples =
        terminal doctor
        terminal --json doctor
help-terminal-completions = 输出命令行补全脚本
    .examples =
        terminal completions bash > /etc/bash_completion.d/terminal
help-terminal-completions-shell = Shell 名称

initialised = 已生成 { $config } 和日记账 { $journal }。
    .next = 请编辑配置，然后运行“terminal doctor”。
journal-created = { $config } 未改动；已创建日记账 { $journal }。
journal-there = { $config } 和日记账 { $journal } 均已存在，未作改动。

present-card = 请刷卡：{ $amount }
present-card-balance = 请刷卡
present-again = 未成功，也未扣款。请再次刷卡：{ $amount }
other-card = 这是另一张卡。请出示尾号为 { $card } 的卡。
present-same-card = 请再次出示同一张卡（尾号 { $card }）：{ $amount }
processing = 处理中，请勿移动卡片
connecting = 正在联系收单方，请勿移开卡片
remove-card = 读卡完成，请取走卡片
recovering = 此卡上次付款被中断：正在查明是否已扣款
recovered-done = 被中断的付款 { $amount } 已扣款。只入账一次，时间为原付款时间。
recovered-void = 被中断的付款 { $amount } 未扣款，已作废。
recovered-uncertain = 无法查明被中断的付款 { $amount } 的结果，由收单方裁定。

approved = 已批准：{ $amount }
declined = 已拒绝
not-taken = 未扣款
uncertain = 未定
balance-is = 余额：{ $balance }（卡 { $card }，有效期 { $from } 至 { $to }）
balance-interrupted = 此卡有一笔付款被中断：下次在此付款时会查明结果。

receipt-merchant = 商户
receipt-terminal = 终端
receipt-date = 日期
receipt-time = 时间
receipt-type = 类型
receipt-purchase = 消费
receipt-amount = 金额
receipt-card = 卡号
receipt-tac = TAC
receipt-before = 交易前余额
receipt-after = 交易后余额
receipt-trace = 流水号
receipt-sequence = 序号
receipt-offline = 脱机
receipt-approved = 已批准
receipt-void = 作废：未扣款
receipt-uncertain = 未定：由收单方裁定
receipt-recovered = 中断后恢复
receipt-unverified = 凭证待收单方核验
receipt-copy = 副本

history-empty = 没有付款。
history-payment = 付款
history-date = 日期和时间
history-amount = 金额
history-card = 卡号
history-state = 状态
history-sequence = 序号
history-tac = TAC
history-sum = 已批准 { $count } 笔，合计 { $amount }；未定 { $uncertain } 笔。
state-approved = 已批准
state-recovered = 已批准（恢复）
state-unverified = 已批准（待核验）
state-void = 作废
state-open = 中断
state-uncertain = 未定

doctor-good = 正常
doctor-bad = 异常
doctor-warning = 注意
doctor-configuration = 配置
doctor-clock = 时钟
doctor-folder = 目录
doctor-space = 磁盘空间
doctor-journal = 日记账
doctor-service = PC/SC 服务
doctor-readers = 读卡器
doctor-card = 顾客读卡器
doctor-sam = SAM 卡
doctor-deny-list = 黑名单
doctor-configuration-good = { $path }，终端 { $terminal }，发卡方 { $issuers } 个
doctor-clock-good = { $date } { $time }，UTC{ $offset }
doctor-folder-good = { $path } 能保存写入的数据（fsync 用时 { $micros } 微秒）
doctor-space-good = 剩余 { $free } MiB
doctor-space-low = 剩余 { $free } MiB
    .next = 请尽快清理：付款开始前必须有空间保存记录。
doctor-journal-good = { $entries } 条记录完好，付款 { $payments } 笔
doctor-journal-open = { $entries } 条记录完好；{ $open } 笔被中断的付款等待其卡片
    .next = 请要求再次出示同一张卡，或作为未定记录上传。
doctor-service-good = 运行中
doctor-readers-good = { $readers }
doctor-card-good = { $reader }
doctor-sam-good = { $reader }，终端机编号 { $number }，序列号 { $serial }
doctor-deny-list-good = { $cards } 张卡
doctor-skipped = 未检查：{ $reason }
doctor-all-good = 付款所需的一切均正常。

# 网关：开通、充值、上送、结算。
enter-code = 一次性代码（输入时不显示）：
enter-pin = 卡片密码（输入时不显示）：
provisioned = 本终端为商户 { $merchant } 的 { $terminal }，网关为 { $gateway }。
    .next = 请删除开通文件；可用“terminal doctor”检查网关。
host-connecting = 正在连接 { $gateway }
loaded = 已充值：{ $amount }
receipt-load = 充值
receipt-batch = 批次号
receipt-reference = 参考号
receipt-online = 联机
receipt-loaded = 充值成功
sent-reversal = 充值冲正
sent-confirmation = 充值确认
sent-payment = 付款
sent-done = { $kind } { $number }，{ $amount }：已接受（{ $code }）
sent-looked-at = { $kind } { $number }，{ $amount }：已接受，应答码 { $code }，由收单方核查
# 应答码（域 39）的文字说明；$words 为字母 c 加应答码。
response-words = { $words ->
    [c03] 不认识该商户
    [c05] 不予承兑
    [c12] 不受理此请求
    [c13] 金额无效
    [c14] 不认识该卡
    [c22] 请重新签到
    [c25] 找不到原交易
    [c30] 报文无法读取
    [c41] 该卡已挂失
    [c43] 该卡被报失窃
    [c51] 账户余额不足
    [c54] 卡已过期
    [c55] 密码错误
    [c57] 该卡不允许此交易
    [c58] 该终端不允许此交易
    [c61] 超过单笔限额
    [c62] 该卡或账户受限
    [c64] 金额与原交易不符
    [c65] 次数超限
    [c68] 应答太迟
    [c75] 密码错误次数超限
    [c77] 当前批次不同，请结算
    [c91] 无法连接发卡方
    [c92] 没有到发卡方的路由
    [c94] 该流水号已用于其他交易
    [c95] 批次正在对账，请先结算
    [c96] 系统故障，请稍后再试
    [c97] 不认识该终端
    [c98] 发卡方未应答
    [c99] 密码无法读取
    [cA0] 报文校验错误
   *[other] 此应答码没有说明
}
sent-refused = { $kind } { $number }，{ $amount }：被拒绝：{ response-words }（应答码 { $code }）；仍待送，请询问收单方
sent-waits = { $kind } { $number }，{ $amount }：暂未接受（{ $code }）；仍待送
uploaded = 已送 { $sent } 项，待送 { $waiting } 项；{ $open } 笔中断付款等待原卡。
settled-balanced = 批次 { $batch } 已结算：双方总计一致。
settled-differing = 批次 { $batch } 已结清，但双方总计不一致：
settled-answer-lost = 批次 { $batch } 已结清；网关的应答在途中丢失。
settled-terminal = 终端：付款 { $payments } 笔 { $paid }，退款 { $refunds } 笔 { $refunded }，充值 { $loads } 笔 { $loaded }
settled-gateway = 网关：付款 { $payments } 笔 { $paid }，退款 { $refunds } 笔 { $refunded }，充值 { $loads } 笔 { $loaded }
settled-difference =   { $kind } { $item }：终端 { $terminal }，网关 { $gateway }
settled-differences-more =   另有 { $more } 项：收单方的批次报告列出全部
settled-absent = 没有此项
settled-item-payment = 付款
settled-item-refund = 退款
settled-item-load = 充值
settled-next = 当前批次为 { $batch }。
settled-held = 本次所送付款中有 { $count } 笔等待收单方决定，不在以上总计中。
settled-interrupted = { $count } 笔中断付款尚未进入任何批次：由其卡片下次拍卡时判定。
history-loads = 充值
history-load = { $number }  { $date } { $time }  { $amount }  { $card }  { $state }
history-host = 主机
load-sent = 已请求，待冲正
load-answered = 未入卡，待冲正
load-credit-sent = 中断
load-credited = 已充值，待确认
load-refused = 未入卡，待冲正
load-unknown = 结果未知，待报告
load-declined = 被拒绝
load-reversed = 已冲正
load-confirmed = 已充值
load-reported = 结果未知，已报告
doctor-loads = 充值
doctor-loads-good = 没有等待卡片超过 { $hours } 小时的充值
doctor-outbox = 待送
doctor-host = 网关
doctor-outbox-good = 没有待送内容
doctor-outbox-waits = 待送：冲正 { $reversals } 笔、确认 { $confirmations } 笔、付款 { $records } 笔
    .next = 网络恢复后请运行“terminal upload”。
doctor-host-good = { $gateway } 已接受签到；当前批次 { $batch }
doctor-host-none = 未开通：仅能脱机付款
    .next = 如需充值、上送和结算，请用收单方的文件运行“terminal provision FILE”。
