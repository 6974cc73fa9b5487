//! Online transactions of a test terminal as the table of `posp.md` section 3 lays them out: type, F3, F25, 60.1, and how a message
//! names an earlier one (F37, F38, F61).

use crate::acquirer::{CURRENCY, Received, TestTerminal, frame_of, pan};
use protocol::host_mac::MacKey;
use protocol::ids::{BatchNo, MerchantId, Stan, TerminalId};
use protocol::iso8583::typed::{
    AmountMinor, AuthorisationCode, Batch, Condition, ManagementCode, Original, ProcessingCode, ResponseCode,
    RetrievalReference, SettlementTotals, Sum, Totals, TransactionKind,
};
use protocol::iso8583::{Digits, FieldNo, Mti};
use protocol::secret::Secret;
use protocol::signin::sign_in_key;

/// A row of the table, and what a message of it carries.
#[derive(Clone, Copy, Debug)]
pub struct Online {
    /// Its type.
    pub mti: Mti,
    /// F3.
    pub code: ProcessingCode,
    /// F25.
    pub condition: Condition,
    /// 60.1.
    pub kind: TransactionKind,
    /// F2: the `n`-th cardholder.
    pub payer: Option<u32>,
    /// F4.
    pub minor: Option<u64>,
    /// F37.
    pub reference: Option<RetrievalReference>,
    /// F38.
    pub authorisation: Option<AuthorisationCode>,
    /// F61.
    pub original: Option<(BatchNo, Stan)>,
    /// F39, in a reversal.
    pub reason: Option<ResponseCode>,
}

const fn row(mti: Mti, code: ProcessingCode, condition: Condition, kind: TransactionKind) -> Online {
    Online {
        mti,
        code,
        condition,
        kind,
        payer: None,
        minor: None,
        reference: None,
        authorisation: None,
        original: None,
        reason: None,
    }
}

impl Online {
    /// Balance inquiry.
    pub const BALANCE: Self =
        row(Mti::FINANCIAL, ProcessingCode::BALANCE, Condition::NORMAL, TransactionKind::BALANCE);
    /// Purchase.
    pub const PURCHASE: Self =
        row(Mti::FINANCIAL, ProcessingCode::PURCHASE, Condition::NORMAL, TransactionKind::PURCHASE);
    /// Void of a purchase.
    pub const VOID: Self =
        row(Mti::FINANCIAL, ProcessingCode::REFUND, Condition::NORMAL, TransactionKind::PURCHASE_VOID);
    /// Refund.
    pub const REFUND: Self =
        row(Mti::ADVICE, ProcessingCode::REFUND, Condition::NORMAL, TransactionKind::REFUND);
    /// Pre-authorisation.
    pub const PRE_AUTHORISATION: Self = row(
        Mti::AUTHORISATION,
        ProcessingCode::PRE_AUTHORISATION,
        Condition::PRE_AUTHORISATION,
        TransactionKind::PRE_AUTHORISATION,
    );
    /// Void of a pre-authorisation.
    pub const PRE_AUTHORISATION_VOID: Self = row(
        Mti::AUTHORISATION,
        ProcessingCode::REFUND,
        Condition::PRE_AUTHORISATION,
        TransactionKind::PRE_AUTHORISATION_VOID,
    );
    /// Completion.
    pub const COMPLETION: Self = row(
        Mti::FINANCIAL,
        ProcessingCode::PURCHASE,
        Condition::PRE_AUTHORISATION,
        TransactionKind::COMPLETION,
    );
    /// Void of a completion.
    pub const COMPLETION_VOID: Self = row(
        Mti::FINANCIAL,
        ProcessingCode::REFUND,
        Condition::PRE_AUTHORISATION,
        TransactionKind::COMPLETION_VOID,
    );
    /// Completion, told afterwards.
    pub const COMPLETION_ADVICE: Self = row(
        Mti::ADVICE,
        ProcessingCode::PURCHASE,
        Condition::PRE_AUTHORISATION,
        TransactionKind::COMPLETION_ADVICE,
    );

    /// With this payer.
    #[must_use]
    pub const fn by(self, payer: u32) -> Self {
        Self { payer: Some(payer), ..self }
    }

    /// With this amount.
    #[must_use]
    pub const fn of(self, minor: u64) -> Self {
        Self { minor: Some(minor), ..self }
    }

    /// About the transaction with this answer: its F37 and F38.
    ///
    /// # Panics
    /// The answer has no F37.
    #[must_use]
    pub fn about(self, answer: &Received) -> Self {
        let message = answer.message();
        let authorisation = message.get().expect("field 38");
        Self { reference: Some(message.need().expect("field 37")), authorisation, ..self }
    }

    /// The reversal (0400) of this one: F3, F25, 60.1 as the original.
    #[must_use]
    pub const fn reversed(self) -> Self {
        Self { mti: Mti::REVERSAL, reason: Some(ResponseCode::NO_ANSWER), ..self }
    }
}

/// Who sends a message, and in which batch.
#[derive(Clone, Copy, Debug)]
pub struct Sender {
    /// F41.
    pub id: TerminalId,
    /// F42.
    pub merchant: MerchantId,
    /// 60.2.
    pub batch: BatchNo,
}

/// The frame of an online transaction, with a MAC if there is a key.
#[must_use]
pub fn message(sender: &Sender, trace: Stan, online: &Online, key: Option<&MacKey>) -> Vec<u8> {
    let batch = Batch::financial(online.kind, sender.batch);
    let pan = online.payer.map(pan);
    let original = online.original.map(|(batch, trace)| Original::new(batch, trace, None));
    frame_of(online.mti, key, &|builder| {
        if let Some(pan) = &pan {
            builder.digits(FieldNo(2), Digits::ascii(pan.as_bytes()))?;
        }
        builder
            .put(&online.code)?
            .put_some(online.minor.map(AmountMinor).as_ref())?
            .put(&trace)?
            .put(&online.condition)?
            .put_some(online.reference.as_ref())?
            .put_some(online.authorisation.as_ref())?
            .put_some(online.reason.as_ref())?
            .put(&sender.id)?
            .put(&sender.merchant)?
            .put(&CURRENCY)?
            .put(&batch)?
            .put_some(original.as_ref())?;
        Ok(())
    })
}

/// The frame of a batch settlement (0500) with these totals of domestic cards.
#[must_use]
pub fn settlement(
    sender: &Sender,
    trace: Stan,
    (debit, credit): (Sum, Sum),
    key: Option<&MacKey>,
) -> Vec<u8> {
    let batch = Batch::management(sender.batch, ManagementCode::SETTLEMENT);
    let domestic = Totals { debit, credit, ..Totals::default() };
    let totals = SettlementTotals { domestic, foreign: Totals::default(), loads: Some(Totals::default()) };
    frame_of(Mti::SETTLEMENT, key, &|builder| {
        builder.put(&trace)?.put(&sender.id)?.put(&sender.merchant)?.put(&totals)?.put(&CURRENCY)?;
        builder.put(&batch)?;
        Ok(())
    })
}

/// The frame of a sign-in (0800, 60.3 = 001).
#[must_use]
pub fn sign_in(sender: &Sender, trace: Stan, tmk: &Secret<16>) -> Vec<u8> {
    let batch = Batch::management(sender.batch, ManagementCode::SIGN_IN);
    frame_of(Mti::MANAGEMENT, Some(&sign_in_key(tmk)), &|builder| {
        builder.put(&trace)?.put(&sender.id)?.put(&sender.merchant)?.put(&batch)?;
        Ok(())
    })
}

impl TestTerminal {
    const fn sender(&self) -> Sender {
        Sender { id: self.id, merchant: self.merchant, batch: self.batch }
    }

    /// The frame of an online transaction.
    #[must_use]
    pub fn online_frame(&self, trace: Stan, online: &Online) -> Vec<u8> {
        message(&self.sender(), trace, online, self.mac.as_ref())
    }

    /// Sends it under the next trace; the trace and the answer.
    ///
    /// # Panics
    /// The connection is gone.
    pub fn online(&mut self, online: &Online) -> (Stan, Received) {
        let trace = self.next_trace();
        (trace, self.ask(&self.online_frame(trace, online)))
    }

    /// Field 39 of the answer.
    ///
    /// # Panics
    /// The connection is gone.
    pub fn told(&mut self, online: &Online) -> String {
        self.online(online).1.code().to_string()
    }

    /// A batch settlement (0500) with these totals of domestic cards.
    ///
    /// # Panics
    /// The connection is gone.
    pub fn settle(&mut self, debit: Sum, credit: Sum) -> Received {
        let trace = self.next_trace();
        self.ask(&settlement(&self.sender(), trace, (debit, credit), self.mac.as_ref()))
    }
}
