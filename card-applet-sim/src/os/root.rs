//! The MF: the card's own files, read by anyone. On a purse its directory (file 01), on a SAM the terminal number and the
//! SAM's information (files 16 and 15).

use super::fs::File;
use super::{AppId, Applet, Platform, Reply};
use protocol::apdu::{Command, StatusWord};
use protocol::purse::command::{CLA_ISO, ins};
use protocol::tlv::{Tag, TlvWriter};

/// File identifier of the MF.
pub const FID_ROOT: u16 = 0x3F00;
/// DF name of the MF of a payment card.
const NAME: &[u8] = b"1PAY.SYS.DDF01";
const SFI_DIRECTORY: u8 = 0x01;

/// The application that is current after power-up.
#[derive(Clone, Copy, Debug, Default)]
pub struct Root;

impl Applet for Root {
    fn fid(&self) -> u16 {
        FID_ROOT
    }

    fn name(&self) -> &[u8] {
        NAME
    }

    fn select(&mut self, platform: &mut Platform<'_>) -> Reply {
        let directory = File::find(platform.memory, AppId::ROOT, SFI_DIRECTORY).is_ok();
        let mut out = [0; 64];
        let mut writer = TlvWriter::new(&mut out);
        let written = writer.constructed(Tag::new(0x6F), |fci| {
            fci.put(Tag::new(0x84), NAME)?;
            fci.constructed(Tag::new(0xA5), |own| {
                if directory { own.put(Tag::new(0x88), &[SFI_DIRECTORY]) } else { Ok(()) }
            })
        });
        let n = writer.len();
        match written {
            Ok(()) => Ok(out.get(..n).unwrap_or_default().to_vec()),
            Err(_) => Err(StatusWord::UNKNOWN.into()),
        }
    }

    fn process(&mut self, command: &Command<'_>, platform: &mut Platform<'_>) -> Reply {
        match (command.cla, command.ins) {
            (CLA_ISO, ins::READ_BINARY) => read_binary(AppId::ROOT, command, platform),
            (CLA_ISO, ins::READ_RECORD) => read_record(AppId::ROOT, command, platform),
            (CLA_ISO | 0x80, _) => Err(StatusWord::INS_NOT_SUPPORTED.into()),
            _ => Err(StatusWord::CLA_NOT_SUPPORTED.into()),
        }
    }

    fn interrupt(&mut self) {}

    fn reset(&mut self) {}
}

/// READ BINARY: P1 = 80 + SFI and an 8-bit offset, or a 15-bit offset in the current file.
///
/// # Errors
/// 6700, 6986, 6A82, 6981, 6B00, 6Cxx.
pub fn read_binary(app: AppId, command: &Command<'_>, platform: &mut Platform<'_>) -> Reply {
    if !command.data.is_empty() {
        return Err(StatusWord::WRONG_LENGTH.into());
    }
    let (sfi, offset) = binary_target(command.p1, command.p2, platform.current_file)?;
    let file = File::find(platform.memory, app, sfi)?;
    let available = file.bytes(platform.memory)?.get(offset..).ok_or(StatusWord::WRONG_OFFSET)?;
    if available.is_empty() {
        return Err(StatusWord::WRONG_OFFSET.into());
    }
    let data = platform.portion(command, available)?.to_vec();
    platform.current_file = Some(sfi);
    Ok(data)
}

/// The file and offset that P1 and P2 of a BINARY command name.
///
/// # Errors
/// 6986 without a current file.
pub fn binary_target(p1: u8, p2: u8, current: Option<u8>) -> Result<(u8, usize), StatusWord> {
    if p1 & 0x80 != 0 {
        Ok((p1 & 0x1F, usize::from(p2)))
    } else {
        let offset = usize::from(u16::from_be_bytes([p1, p2]));
        Ok((current.ok_or(StatusWord::NO_CURRENT_FILE)?, offset))
    }
}

/// The file and record number that P1 and P2 of a RECORD command name.
///
/// # Errors
/// 6986, 6A82, 6981, 6A83, 6A86.
pub fn record_target(
    app: AppId,
    command: &Command<'_>,
    platform: &Platform<'_>,
) -> Result<(File, u8), StatusWord> {
    let sfi = match command.p2 >> 3 {
        0 => platform.current_file.ok_or(StatusWord::NO_CURRENT_FILE)?,
        sfi => sfi,
    };
    let file = File::find(platform.memory, app, sfi)?;
    match command.p2 & 0x07 {
        0x04 => Ok((file, command.p1)),
        0x00 => Ok((file, file.number_of(platform.memory, command.p1)?)),
        _ => Err(StatusWord::WRONG_P1P2),
    }
}

/// READ RECORD by number (P2 = SFI << 3 + 4) or by identifier (P2 = SFI << 3).
///
/// # Errors
/// 6700, 6986, 6A82, 6981, 6A83, 6A86, 6Cxx.
pub fn read_record(app: AppId, command: &Command<'_>, platform: &mut Platform<'_>) -> Reply {
    if !command.data.is_empty() {
        return Err(StatusWord::WRONG_LENGTH.into());
    }
    let (file, number) = record_target(app, command, platform)?;
    let record = file.read_record(platform.memory, number)?;
    let data = platform.portion(command, record)?.to_vec();
    platform.current_file = Some(file.sfi);
    Ok(data)
}
