# 网关：帮助、操作、报表。

help-posp-gateway = 运行收单网关：终端、交易与账务
    .examples =
        posp-gateway init                                写出带注释的 posp-gateway.toml、密钥和空数据库
        posp-gateway merchant add M1 --name "街角小店"
        posp-gateway terminal add T0000001 --merchant M1
        posp-gateway serve                               接受终端连接
        posp-gateway audit                               核对账务
help-posp-gateway-init = 写出带注释的配置、密钥和空数据库
    .examples =
        posp-gateway init
        posp-gateway --config /etc/tapline/posp-gateway.toml init
        posp-gateway init --print > compare.toml
help-posp-gateway-init-print = 打印默认配置而不写入文件
help-posp-gateway-serve = 接受终端连接，直到收到 SIGTERM 或 SIGINT
    .examples =
        posp-gateway serve
        TAPLINE_LOG=debug posp-gateway serve
help-posp-gateway-merchant = 商户
    .examples =
        posp-gateway merchant add M00000000000001 --name "Corner Shop"
help-posp-gateway-merchant-add = 登记商户
    .examples =
        posp-gateway merchant add M00000000000001 --name "Corner Shop"
        posp-gateway --json merchant add M2 --name Café --currency EUR
help-posp-gateway-merchant-add-merchant = 商户号，最多 15 个字符
help-posp-gateway-merchant-add-name = 对账单和小票上的名称
help-posp-gateway-merchant-add-currency = 账户币种
help-posp-gateway-terminal = 终端
    .examples =
        posp-gateway terminal add T0000001 --merchant M1
help-posp-gateway-terminal-add = 登记终端，写出其入网文件，并显示一次性代码
    .examples =
        posp-gateway terminal add T0000001 --merchant M1
        posp-gateway terminal add T0000001 --merchant M1 --file till.toml --renew
help-posp-gateway-terminal-add-terminal = 终端号，最多 8 个字符
help-posp-gateway-terminal-add-merchant = 所属商户
help-posp-gateway-terminal-add-acquirer = 收单机构，最多 11 位数字
help-posp-gateway-terminal-add-file = 入网文件的位置；默认为 终端号.toml
help-posp-gateway-terminal-add-renew = 为已有主密钥的终端换发新密钥
help-posp-gateway-sam = SAM 卡
    .examples =
        posp-gateway sam add 000000000001 --terminal T0000001
help-posp-gateway-sam-add = 此 SAM 卡自此在该终端使用
    .examples =
        posp-gateway sam add 000000000001 --terminal T0000001
        posp-gateway sam add 000000000001 --terminal T0000001 --from "2026-11-22 06:00:00"
help-posp-gateway-sam-add-sam = SAM 卡的终端机编号，12 位十六进制
help-posp-gateway-sam-add-terminal = 所在终端
help-posp-gateway-sam-add-from = 起始时间（本地）；默认为现在
help-posp-gateway-sam-retry = 补记因 SAM 卡未登记而挂起的记录
    .examples =
        posp-gateway sam retry 000000000001
help-posp-gateway-sam-retry-sam = SAM 卡的终端机编号，12 位十六进制
help-posp-gateway-issuer = 电子钱包发卡方
    .examples =
        posp-gateway issuer add issuer.toml
help-posp-gateway-issuer-add = 登记发卡方并导入其密钥
    .examples =
        posp-gateway issuer add issuer.toml
help-posp-gateway-issuer-add-file = 密钥文件，由 card-applet-sim 生成
help-posp-gateway-card = 电子钱包
    .examples =
        posp-gateway card add 62170000001234567890 --issuer 5441504C494E4500
help-posp-gateway-card-add = 登记已发行的钱包
    .examples =
        posp-gateway card add 62170000001234567890 --issuer 5441504C494E4500 --funding bank:1
help-posp-gateway-card-add-asn = 序列号，20 位十六进制
help-posp-gateway-card-add-issuer = 发卡方，16 位十六进制
help-posp-gateway-card-add-key-version = 密钥版本
help-posp-gateway-card-add-funding = 充值所用账户，例如 bank:1
help-posp-gateway-card-rekey = 声明某卡的密钥版本与登记时不同，并记入因此暂挂的记录
    .examples =
        posp-gateway card rekey 62170000001234567890 --issuer 5441504C494E4500 --key-version 2
help-posp-gateway-card-rekey-asn = 序列号，20 位十六进制
help-posp-gateway-card-rekey-issuer = 发卡方，16 位十六进制
help-posp-gateway-card-rekey-key-version = 该卡的密钥版本
help-posp-gateway-card-deny = 将卡列入或移出止付名单
    .examples =
        posp-gateway card deny 62170000001234567890 --issuer 5441504C494E4500
        posp-gateway card deny 62170000001234567890 --issuer 5441504C494E4500 --lift
help-posp-gateway-card-deny-asn = 序列号，20 位十六进制
help-posp-gateway-card-deny-issuer = 发卡方，16 位十六进制
help-posp-gateway-card-deny-lift = 移出名单
help-posp-gateway-card-release = 释放为充值冻结、而卡片一直未再出现的资金
    .examples =
        posp-gateway report card 62170000001234567890 --issuer 5441504C494E4500
        posp-gateway card release 62170000001234567890 --issuer 5441504C494E4500 --counter 7 --reference 000000000042
help-posp-gateway-card-release-asn = 序列号，20 位十六进制
help-posp-gateway-card-release-issuer = 发卡方，16 位十六进制
help-posp-gateway-card-release-counter = 该笔充值的联机计数器，见 report card
help-posp-gateway-card-release-reference = 该计数器上最新一笔充值的检索参考号，见 report card：其后到达的充值不会被释放
help-posp-gateway-card-credit = 证明不会再到时，由人指定卡片实际入账的是哪一笔充值
    .examples =
        posp-gateway report transaction --load --issuer 5441504C494E4500 --card 62170000001234567890 --counter 7
        posp-gateway card credit 62170000001234567890 --issuer 5441504C494E4500 --counter 7 --reference 000000000042
help-posp-gateway-card-credit-asn = 序列号，20 位十六进制
help-posp-gateway-card-credit-issuer = 发卡方，16 位十六进制
help-posp-gateway-card-credit-counter = 这些充值的联机计数器，见 report card
help-posp-gateway-card-credit-reference = 该笔充值的检索参考号，见 report transaction
help-posp-gateway-funding = 持卡人账户
    .examples =
        posp-gateway funding add bank:1
help-posp-gateway-funding-add = 开立持卡人账户
    .examples =
        posp-gateway funding add bank:1
        posp-gateway funding add carrier:138 --currency CNY
help-posp-gateway-funding-add-account = bank:编号、third-party:编号 或 carrier:编号
help-posp-gateway-funding-add-currency = 账户币种
help-posp-gateway-funding-deposit = 记入持卡人账户的到账资金
    .examples =
        posp-gateway funding deposit bank:1 500.00 --reference 1
help-posp-gateway-funding-deposit-account = bank:编号、third-party:编号 或 carrier:编号
help-posp-gateway-funding-deposit-amount = 金额，例如 500.00
help-posp-gateway-funding-deposit-currency = 账户币种
help-posp-gateway-funding-deposit-reference = 这笔到账的唯一编号；重复的编号不会再次记账
help-posp-gateway-report = 报表
    .examples =
        posp-gateway report merchant M1
        posp-gateway report batch T0000001
help-posp-gateway-report-merchant = 商户对账单
    .examples =
        posp-gateway report merchant M1
        posp-gateway report merchant M1 --from 2026-11-01 --to 2026-11-30
help-posp-gateway-report-merchant-merchant = 商户号
help-posp-gateway-report-merchant-from = 第一天，YYYY-MM-DD
help-posp-gateway-report-merchant-to = 最后一天，YYYY-MM-DD
help-posp-gateway-report-batch = 批次：双方总计与每一笔差异
    .examples =
        posp-gateway report batch T0000001
        posp-gateway report batch T0000001 17
help-posp-gateway-report-batch-terminal = 终端号
help-posp-gateway-report-batch-batch = 批次号；默认为当前批次或上一批次
help-posp-gateway-report-card = 账务所知的卡片状况
    .examples =
        posp-gateway report card 62170000001234567890 --issuer 5441504C494E4500
help-posp-gateway-report-card-asn = 序列号，20 位十六进制
help-posp-gateway-report-card-issuer = 发卡方，16 位十六进制
help-posp-gateway-report-alerts = 最新告警
    .examples =
        posp-gateway report alerts --limit 10
help-posp-gateway-report-alerts-limit = 最多列出的条数
help-posp-gateway-report-open = 尚未了结的脱机记录，及卡片交易链的说明
    .examples =
        posp-gateway report open
        posp-gateway --json report open --limit 50
help-posp-gateway-report-open-limit = 最多列出的条数
help-posp-gateway-report-deny-list = 进入或移出黑名单的卡
    .examples =
        posp-gateway report deny-list
        posp-gateway --json report deny-list --since 17
help-posp-gateway-report-deny-list-since = 仅列出此版本之后的变更
help-posp-gateway-report-deny-list-limit = 最多列出的条数
help-posp-gateway-record = 脱机记录
    .examples =
        posp-gateway record decide 000000000001 42 --void
help-posp-gateway-record-decide = 了结卡片交易链无法判定的未决脱机扣款
    .examples =
        posp-gateway record decide 000000000001 42 --pay
        posp-gateway record decide 000000000001 42 --void
help-posp-gateway-record-decide-sam = SAM 的终端机编号，12 位十六进制
help-posp-gateway-record-decide-seq = 记录序号，见“report open”
help-posp-gateway-record-decide-pay = 付给商户，视同交易链已证明
help-posp-gateway-record-decide-void = 关闭：未发生扣款
help-posp-gateway-backup = 写出经校验的账本密封副本，网关运行时亦可
    .examples =
        posp-gateway backup /backup/ledger-2026-11-22.tlb
help-posp-gateway-backup-file = 备份文件；不得已存在
help-posp-gateway-restore = 在没有账本之处，从备份恢复账本
    .examples =
        posp-gateway restore /backup/ledger-2026-11-22.tlb
help-posp-gateway-restore-file = “backup”写出的文件
help-posp-gateway-audit = 重新推导全部账目，证明没有多出或缺少
    .examples =
        posp-gateway audit
        posp-gateway --json audit
        posp-gateway audit --heads /elsewhere/heads.jsonl
help-posp-gateway-audit-heads = 将提交链与导出到此文件的链头比较
help-posp-gateway-audit-export-head = 为最新链头签名并追加到此文件
help-posp-gateway-settle = 了结已足够久的未决脱机扣款，提示缺失记录，导出链头
    .examples =
        posp-gateway settle
        posp-gateway settle --older-than 14
help-posp-gateway-settle-older-than = 多久以前，单位为天
help-posp-gateway-doctor = 检查配置、数据库、密钥、地址和时钟
    .examples =
        posp-gateway doctor
help-posp-gateway-completions = 打印 shell 补全脚本
    .examples =
        posp-gateway completions bash > /etc/bash_completion.d/posp-gateway
help-posp-gateway-completions-shell = bash、zsh、fish、elvish 或 powershell

gateway-init = 已写出 { $config } 和空数据库 { $database }。
    请将 { $master } 另行保管：它能打开密钥文件。下一步：merchant add、terminal add、issuer add、serve。
gateway-init-server = { $config } 的网关可以使用 { $database }。
    请将 { $master } 另行保管：它能打开密钥文件。其他网关需要这两个文件的副本；每个网关有自己的编号（postgres.gateway）。
gateway-listening = 正在 { $address } 等待终端
gateway-stopped = 已停止：应答均已发出，账务已关闭。
gateway-running = 运行中：{ $connections } 个连接，{ $terminals } 台终端已签到
gateway-registered = 完成：{ $what } { $name }
gateway-existed = 原已如此：{ $what } { $name }
gateway-what-merchant = 商户
gateway-what-terminal = 终端
gateway-what-sam = SAM 卡
gateway-what-issuer = 发卡方
gateway-what-card = 卡
gateway-what-funding = 账户
gateway-what-deposit = 到账
gateway-provisioned = 终端 { $terminal } 已登记。一次性代码仅此刻显示：

    { "  " }{ $code }

gateway-provisioned-file = 请将 { $file } 带到终端，代码另行传递。
gateway-counted-records = 已补记 { $count } 条挂起记录。
gateway-counted-uncertain = 已了结 { $count } 笔未决脱机扣款。
gateway-statement = { $merchant } { $name } 的对账单
gateway-payable = 共 { $count } 行，应付商户：{ $payable }
gateway-line-purchase = 消费
gateway-line-returned = 退回
gateway-line-purse-purchase = 钱包消费
gateway-line-load = 现金充值或退回钱包
gateway-line-clearing = 已付出
gateway-line-adjustment = 更正
gateway-batch = 终端 { $terminal } 的批次 { $batch }，{ $state }
gateway-batch-open = 未结
gateway-batch-uploading = 总计不符，终端正在上送
gateway-batch-closed = 已结
gateway-debits = 借记
gateway-credits = 贷记
gateway-loads = 充值
gateway-totals = { $name }：主机 { $host }，终端 { $terminal }（最小货币单位 / 笔数）
gateway-difference = 不符：{ $key }：主机 { $host }，终端 { $terminal }
gateway-absent = 无
gateway-card = 卡 { $card }，{ $state }：已充值 { $loaded }，已消费 { $spent }，卡上应有 { $expected }，未确认充值 { $open }（最小货币单位）；缺 { $missing } 条记录
gateway-card-open-load = 为其充值 { $reference }（联机计数器 { $counter }）冻结了 { $open }（最小货币单位），既未确认也未释放。
gateway-card-open-amounts = 该计数器上请求过多次充值：卡片可能入账了 { $amounts } 之一（最小货币单位）。由卡片的证明决定，或由人决定（posp-gateway card credit）。
gateway-load-released = 已释放：为卡 { $card }（联机计数器 { $counter }）冻结的 { $amount } 恢复可用。
    若日后该卡表明其实已充值，则照常入账：由付款账户支付，不足则记为发卡方损失，并产生告警。
gateway-load-credited = 已入账：卡 { $card } 在联机计数器 { $counter } 上入账的是充值 { $reference }。
    如果卡片以后证明是另一笔，则改记那一笔并发出告警。
gateway-card-denied = 在止付名单上
gateway-card-active = 正常
gateway-no-alerts = 没有告警。
gateway-what-record = 记录
gateway-no-open = 没有未了结的记录。
gateway-evidence-consumed = 交易链表明已发生：满期后付款
gateway-evidence-claimed = 该计数器属于另一记录：将关闭
gateway-evidence-not-consumed = 交易链表明金额不同：将关闭
gateway-evidence-outdone = 同一计数器有更新的记录符合交易链：将关闭
gateway-evidence-nothing-later = 此卡尚无更晚的记录
gateway-evidence-gap = 缺少此卡的相邻记录
gateway-evidence-contested = 多条记录符合交易链：由人员决定
gateway-evidence-contradicted = 与相邻记录不符：由人员决定
gateway-evidence-unknown-place = 已证明，但无人登记该 SAM 当时的位置
gateway-evidence-unverified = 发卡方或其密钥未登记
gateway-deny-list = 黑名单版本 { $version }：{ $count } 项变更
gateway-head = 提交 { $commit } 的链头已签名并写入 { $file }，可用公钥 { $key } 验证
gateway-no-head = 尚无提交，无可签名。
gateway-backup = 已写出 { $file }：{ $bytes } 字节，SHA-256 { $sha }。已审计并回读；账本停顿 { $pause } 毫秒。
    其中不含密钥和配置：请另行保存密钥文件、主密钥和 posp-gateway.toml，主密钥须分开存放。
gateway-restored = 已恢复 { $database }，截至 { $of }。此后的记账不在其中：
    - 终端会重新签到并重发未得到应答的报文，只入账一次；
    - 此后已应答的内容不会自动回来：请重新上送其记录，并用“report batch”核对批次；
    - 交易号 { $skipped } 不再使用，批次号和黑名单版本也已跳号；
    - “audit --heads 文件”会列出本账本未达到的每个导出链头。请保留该文件作证据，并导出到新文件。
gateway-restored-issuers = 密钥文件中没有下列发卡方的密钥，其卡既不能消费也不能充值：{ $names }
gateway-restored-terminals = 密钥文件不认识下列终端；请恢复密钥文件，或重新登记（terminal add --renew）：{ $names }
gateway-audit-skipped = 恢复备份后，提交 { $commit } 跳过了 { $count } 个交易号。
gateway-audit-heads = 已将 { $count } 个导出链头与提交链比较
gateway-audit-counts = 已重新推导：{ $commits } 次提交、{ $transfers } 笔转账、{ $transactions } 笔交易、{ $records } 条脱机记录、{ $cards } 张卡
gateway-audit-turnover = 借方合计 = 贷方合计 = { $amount }
gateway-audit-float = 发卡方 { $issuer }：卡上余额 { $posted } = 充值 − 消费；未确认充值冻结 { $pending }
gateway-audit-head = 提交链完整，直至 { $head }
gateway-audit-clean = 账务平衡：没有多出，也没有缺少。
gateway-audit-exceptions = 发现 { $count } 处异常：请停止结算，保留数据库，查明原因。
help-posp-gateway-funding-close = 关闭持卡人账户：不再有新的收付
    .examples =
        posp-gateway funding close bank:1
help-posp-gateway-funding-close-account = bank:编号、third-party:编号 或 carrier:编号
help-posp-gateway-funding-close-currency = 账户币种
help-posp-gateway-funding-suffices = 账户此刻是否足以支付某金额：只答是或否
    .examples =
        posp-gateway funding suffices carrier:138 30.00
help-posp-gateway-funding-suffices-account = bank:编号、third-party:编号 或 carrier:编号
help-posp-gateway-funding-suffices-amount = 金额，例如 30.00
help-posp-gateway-funding-suffices-currency = 账户币种
help-posp-gateway-payer = 卡号及其所对应的账户
    .examples =
        posp-gateway payer add bank:1 < number.txt
help-posp-gateway-payer-add = 登记卡号所对应的账户；卡号从标准输入读取
    .examples =
        posp-gateway payer add bank:1
        posp-gateway payer add carrier:138 --currency CNY < number.txt
help-posp-gateway-payer-add-account = bank:编号、third-party:编号 或 carrier:编号
help-posp-gateway-payer-add-currency = 账户币种
help-posp-gateway-limit = 联机交易限额：账户可支出多少，商户可收入多少
    .examples =
        posp-gateway limit set --kind carrier --payment 200.00 --day-sum 500.00
help-posp-gateway-limit-list = 列出所有限额及当日已用额度
    .examples =
        posp-gateway limit list
        posp-gateway --json limit list --limit 100
help-posp-gateway-limit-list-limit = 最多列出多少条
help-posp-gateway-limit-set = 设置某类账户、某账户、终端或商户的限额；未给出的即不限
    .examples =
        posp-gateway limit set --kind carrier --payment 200.00 --day-sum 500.00 --day-count 20
        posp-gateway limit set --merchant M1 --day-sum 100000.00
help-posp-gateway-limit-set-kind = 该类中没有自身限额的所有账户：bank、third-party 或 carrier
help-posp-gateway-limit-set-account = 某一账户，例如 bank:1
help-posp-gateway-limit-set-terminal = 终端号
help-posp-gateway-limit-set-merchant = 商户号：其所有终端合计
help-posp-gateway-limit-set-payment = 单笔最高金额
help-posp-gateway-limit-set-day-sum = 每日最高金额
help-posp-gateway-limit-set-day-count = 每日最多笔数
help-posp-gateway-limit-set-currency = 金额的币种
help-posp-gateway-report-transaction = 按交易的任一标识查找交易
    .examples =
        posp-gateway report transaction --reference 000000000017
        posp-gateway report transaction --terminal T0000001 --batch 3 --trace 42
        posp-gateway report transaction --authorisation 000017
        posp-gateway report transaction --issuer 5441504C494E4500 --card 62170000001234567890 --counter 5
        posp-gateway report transaction --sam 000000000017 --sequence 42
        posp-gateway report transaction --account bank:1 --from 2026-11-01 --to 2026-11-30
help-posp-gateway-report-transaction-reference = 检索参考号，见签购单
help-posp-gateway-report-transaction-terminal = 终端号，须与 --batch 和 --trace 同用
help-posp-gateway-report-transaction-batch = 批次号
help-posp-gateway-report-transaction-trace = 流水号
help-posp-gateway-report-transaction-authorisation = 授权码；可能对应多笔交易
help-posp-gateway-report-transaction-issuer = 卡片的发卡方，16 位十六进制，须与 --card 和 --counter 同用
help-posp-gateway-report-transaction-card = 卡片序列号，20 位十六进制
help-posp-gateway-report-transaction-counter = 卡片的脱机交易序号；与 --load 同用时为充值序号
help-posp-gateway-report-transaction-load = 序号为充值序号
help-posp-gateway-report-transaction-sam = SAM 号，12 位十六进制，须与 --sequence 同用
help-posp-gateway-report-transaction-sequence = 其交易序号
help-posp-gateway-report-transaction-payer = 卡号的令牌，32 位十六进制
help-posp-gateway-report-transaction-account = 付款账户，例如 bank:1
help-posp-gateway-report-transaction-currency = 账户币种
help-posp-gateway-report-transaction-from = 第一天，YYYY-MM-DD（付款人与账户）
help-posp-gateway-report-transaction-to = 最后一天，YYYY-MM-DD（付款人与账户）
help-posp-gateway-report-transaction-limit = 最多列出多少笔
gateway-what-closed = 已关闭账户
gateway-what-released = 已释放的充值
gateway-what-limit = 限额
gateway-suffices = 足够。
gateway-suffices-not = 不足。
gateway-payer-added = { $pan } 现由账户 { $account } 付款。其标记：{ $token }
gateway-payer-existed = { $pan } 已由账户 { $account } 付款。其标记：{ $token }
gateway-no-limits = 没有设置任何限额。
gateway-more-limits = 还有更多：请提高 --limit。
gateway-limit-none = 不限
gateway-limit-kind = 类别
gateway-limit-account = 账户
gateway-limit-terminal = 终端
gateway-limit-merchant = 商户
gateway-limit = { $scope } { $name }：单笔 { $payment }；每日 { $sum }；每日笔数 { $count }
gateway-limit-used = 当日已用：{ $sum }，共 { $count } 笔
gateway-no-transactions = 没有这样的交易。
gateway-more-transactions = 还有更多：请缩小范围或提高 --limit。
gateway-kind-balance = 余额查询
gateway-kind-purchase = 消费
gateway-kind-void = 消费撤销
gateway-kind-refund = 退货
gateway-kind-load = 圈存
gateway-kind-merchant-load = 商户圈存
gateway-kind-load-confirm = 圈存确认
gateway-kind-offline-records = 脱机交易
gateway-kind-settle = 批结算
gateway-kind-upload = 批上送
gateway-kind-upload-end = 批上送结束
gateway-kind-tombstone = 无原交易的冲正
gateway-kind-pre-authorisation = 预授权
gateway-kind-pre-authorisation-void = 预授权撤销
gateway-kind-completion = 预授权完成
gateway-kind-completion-void = 预授权完成撤销
gateway-kind-completion-advice = 预授权完成通知
gateway-state-received = 已收到
gateway-state-declined = 已拒绝
gateway-state-authorised = 已授权
gateway-state-completed = 已完成
gateway-state-cleared = 已清算
gateway-state-settled = 已结算
gateway-state-reversed = 已冲正
gateway-state-voided = 已撤销
gateway-state-partly-refunded = 部分退货
gateway-state-refunded = 全额退货
gateway-state-disputed = 有争议
gateway-state-expired = 已过期
