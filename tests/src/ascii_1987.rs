//! A third dialect, made by a table alone: ISO 8583:1987 with everything in ASCII, bitmaps and binary fields in
//! hexadecimal. Nothing in `protocol` knows it.

use protocol::iso8583::Alphabet::{An, Ans};
use protocol::iso8583::{BitmapForm, Coding, Dialect, DigitForm, Field, Size};

const fn n(number: u8, name: &'static str, digits: u16) -> (u8, Field) {
    (number, Field::open(name, Coding::Digits, Size::Fixed(digits)))
}

const fn an(number: u8, name: &'static str, characters: u16) -> (u8, Field) {
    (number, Field::open(name, Coding::Text(An), Size::Fixed(characters)))
}

const fn ans(number: u8, name: &'static str, characters: u16) -> (u8, Field) {
    (number, Field::open(name, Coding::Text(Ans), Size::Fixed(characters)))
}

const fn b(number: u8, name: &'static str) -> (u8, Field) {
    (number, Field::hidden(name, Coding::Hex, Size::Fixed(8)))
}

const fn ll(number: u8, name: &'static str, coding: Coding, max: u16) -> (u8, Field) {
    (number, Field::hidden(name, coding, Size::Ll { min: 1, max }))
}

const fn lll(number: u8, name: &'static str, coding: Coding, max: u16) -> (u8, Field) {
    (number, Field::hidden(name, coding, Size::Lll { min: 1, max }))
}

const TEXT: Coding = Coding::Text(Ans);

/// ISO 8583:1987, ASCII.
pub static ASCII_1987: Dialect = Dialect::new(
    "ascii1987",
    DigitForm::Ascii,
    BitmapForm::Hex,
    DigitForm::Ascii,
    &[
        ll(2, "PAN", Coding::Digits, 19),
        n(3, "processing code", 6),
        n(4, "amount, transaction", 12),
        n(5, "amount, settlement", 12),
        n(6, "amount, cardholder billing", 12),
        n(7, "transmission date and time", 10),
        n(8, "amount, cardholder billing fee", 8),
        n(9, "conversion rate, settlement", 8),
        n(10, "conversion rate, cardholder billing", 8),
        n(11, "trace number", 6),
        n(12, "local time", 6),
        n(13, "local date", 4),
        n(14, "expiry", 4),
        n(15, "settlement date", 4),
        n(16, "conversion date", 4),
        n(17, "capture date", 4),
        n(18, "merchant type", 4),
        n(19, "acquirer country", 3),
        n(20, "PAN country", 3),
        n(21, "forwarder country", 3),
        n(22, "entry mode", 3),
        n(23, "card sequence number", 3),
        n(24, "network identifier", 3),
        n(25, "condition code", 2),
        n(26, "capture code", 2),
        n(27, "authorisation code length", 1),
        an(28, "transaction fee", 9),
        an(29, "settlement fee", 9),
        an(30, "transaction processing fee", 9),
        an(31, "settlement processing fee", 9),
        ll(32, "acquirer", Coding::Digits, 11),
        ll(33, "forwarder", Coding::Digits, 11),
        ll(34, "PAN, extended", TEXT, 28),
        ll(35, "track 2", Coding::Track, 37),
        lll(36, "track 3", Coding::Track, 104),
        an(37, "retrieval reference", 12),
        an(38, "authorisation code", 6),
        an(39, "response code", 2),
        an(40, "service restriction code", 3),
        ans(41, "terminal", 8),
        ans(42, "merchant", 15),
        ans(43, "merchant name", 40),
        ll(44, "additional response data", TEXT, 25),
        ll(45, "track 1", TEXT, 76),
        lll(46, "additional data, ISO", TEXT, 999),
        lll(47, "additional data, national", TEXT, 999),
        lll(48, "additional data, private", TEXT, 999),
        an(49, "currency", 3),
        an(50, "settlement currency", 3),
        an(51, "cardholder billing currency", 3),
        b(52, "PIN block"),
        n(53, "security control", 16),
        lll(54, "additional amounts", TEXT, 240),
        lll(55, "card data (EMV)", TEXT, 510),
        lll(56, "reserved", TEXT, 999),
        lll(57, "reserved", TEXT, 999),
        lll(58, "reserved", TEXT, 999),
        lll(59, "reserved", TEXT, 999),
        lll(60, "reserved", TEXT, 999),
        lll(61, "reserved", TEXT, 999),
        lll(62, "reserved", TEXT, 999),
        lll(63, "reserved", TEXT, 999),
        b(64, "MAC"),
        n(66, "settlement code", 1),
        n(67, "extended payment code", 2),
        n(68, "receiver country", 3),
        n(69, "settlement institution country", 3),
        n(70, "network management code", 3),
        n(71, "message number", 4),
        n(72, "last message number", 4),
        n(73, "action date", 6),
        n(74, "credits, number", 10),
        n(75, "credits reversed, number", 10),
        n(76, "debits, number", 10),
        n(77, "debits reversed, number", 10),
        n(78, "transfers, number", 10),
        n(79, "transfers reversed, number", 10),
        n(80, "inquiries, number", 10),
        n(81, "authorisations, number", 10),
        n(82, "credits, processing fees", 12),
        n(83, "credits, transaction fees", 12),
        n(84, "debits, processing fees", 12),
        n(85, "debits, transaction fees", 12),
        n(86, "credits, amount", 16),
        n(87, "credits reversed, amount", 16),
        n(88, "debits, amount", 16),
        n(89, "debits reversed, amount", 16),
        n(90, "original data", 42),
        an(91, "file update code", 1),
        n(92, "file security code", 2),
        an(93, "response indicator", 5),
        an(94, "service indicator", 7),
        an(95, "replacement amounts", 42),
        b(96, "message security code"),
        an(97, "net settlement", 17),
        ans(98, "payee", 25),
        ll(99, "settlement institution", Coding::Digits, 11),
        ll(100, "receiver", Coding::Digits, 11),
        ll(101, "file name", TEXT, 17),
        ll(102, "account 1", TEXT, 28),
        ll(103, "account 2", TEXT, 28),
        lll(104, "transaction description", TEXT, 100),
        b(128, "MAC"),
    ],
);
