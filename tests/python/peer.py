"""Answers one JSON request a line with one JSON line: what pyiso8583 and psec make of the same input.

Started once by a test (tests/src/python.rs) and ended by closing its standard input. All keys are test keys."""

import json
import sys
import time

import iso8583
from psec import aes, des, pinblock, tr31

from dialects import DIALECTS


def encode(dialect, fields):
    raw, _ = iso8583.encode(dict(fields), DIALECTS[dialect])
    return bytes(raw).hex().upper()


def decode(dialect, message):
    fields, _ = iso8583.decode(bytes.fromhex(message), DIALECTS[dialect])
    return {no: value for no, value in fields.items() if no not in ("h", "p", "1")}


def codec_rate(dialect, message, seconds):
    """Messages a second that are decoded and encoded again, with the same bytes as a result."""
    raw, spec = bytes.fromhex(message), DIALECTS[dialect]
    done, began = 0, time.perf_counter()
    while (spent := time.perf_counter() - began) < seconds:
        for _ in range(200):
            fields, _encoded = iso8583.decode(raw, spec)
            again, _encoded = iso8583.encode(fields, spec)
            if again != raw:
                raise ValueError("the message did not survive")
        done += 200
    return done / spent


def key_block_unwrap(kbpk, block):
    header, key = tr31.unwrap(bytes.fromhex(kbpk), block)
    use = f"{header.key_usage}/{header.algorithm}/{header.mode_of_use}"
    return {"usage": use, "version": header.version_num, "export": header.exportability, "key": key.hex().upper()}


def key_block_wrap(kbpk, usage, key):
    use, algorithm, mode = usage.split("/")
    header = tr31.Header("D", use, algorithm, mode, "00", "N")
    return tr31.wrap(bytes.fromhex(kbpk), header, bytes.fromhex(key))


def pin_encipher_4(key, pin, pan):
    return pinblock.encipher_pinblock_iso_4(bytes.fromhex(key), pin, pan).hex().upper()


def pin_decipher_4(key, block, pan):
    return pinblock.decipher_pinblock_iso_4(bytes.fromhex(key), bytes.fromhex(block), pan)


def pin_encipher_0(key, pin, pan):
    return des.encrypt_tdes_ecb(bytes.fromhex(key), pinblock.encode_pinblock_iso_0(pin, pan)).hex().upper()


def check_value_des(key):
    return des.generate_kcv(bytes.fromhex(key), 4).hex().upper()


def check_value_aes(key):
    # psec computes check values of DES keys only.
    from cryptography.hazmat.primitives.ciphers.algorithms import AES
    from cryptography.hazmat.primitives.cmac import CMAC

    cmac = CMAC(AES(bytes.fromhex(key)))
    cmac.update(bytes(16))
    return cmac.finalize()[:5].hex().upper()


def aes_encrypt(key, block):
    return aes.encrypt_aes_ecb(bytes.fromhex(key), bytes.fromhex(block)).hex().upper()


REQUESTS = {
    function.__name__: function
    for function in (
        encode, decode, codec_rate, key_block_unwrap, key_block_wrap, pin_encipher_4, pin_decipher_4, pin_encipher_0,
        check_value_des, check_value_aes, aes_encrypt,
    )
}


def main():
    for line in sys.stdin:
        request = json.loads(line)
        try:
            answer = {"ok": REQUESTS[request.pop("do")](**request)}
        except Exception as error:  # whatever the libraries raise is the answer
            answer = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(answer), flush=True)


main()
