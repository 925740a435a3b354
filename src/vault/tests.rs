use super::*;

fn master(byte: u8) -> MasterKey {
    MasterKey::from_bytes(&[byte; 32]).unwrap()
}

fn vault(byte: u8) -> Vault {
    Vault::new(&master(byte)).unwrap()
}

#[test]
fn keys_are_wrapped_by_the_master_key_and_never_print() {
    let vault = vault(7);
    let (key, wrapped) = vault.new_key().unwrap();
    let sealed = key.seal("x", b"value").unwrap();
    assert_eq!(vault.unwrap_key(&wrapped).unwrap().open("x", &sealed).unwrap(), b"value");
    assert_eq!(format!("{key:?} {wrapped:?} {:?}", master(7)), "SealKey WrappedKey MasterKey");

    let other = self::vault(8);
    assert!(matches!(other.unwrap_key(&wrapped), Err(VaultError::WrongKey)));
    let mut altered = wrapped.clone();
    altered.0[20] ^= 1;
    assert!(matches!(vault.unwrap_key(&altered), Err(VaultError::WrongKey)));
    assert!(matches!(vault.unwrap_key(&WrappedKey(Vec::new())), Err(VaultError::WrongKey)));
}

#[test]
fn a_master_key_is_32_bytes_or_64_hex_digits() {
    let hex = "00112233445566778899aabbccddeeffFFEEDDCCBBAA99887766554433221100";
    for end in ["", "\n", "\r\n"] {
        assert!(MasterKey::from_bytes(format!("{hex}{end}").as_bytes()).is_ok());
    }
    let table: &[(&[u8], &str)] = &[
        (
            b"",
            "the master key is empty; it must be 32 random bytes, or those as 64 hex digits. \
               Make one with: head -c 32 /dev/urandom > FILE; chmod 600 FILE",
        ),
        (&[7; 31], "has 31 bytes"),
        (&[7; 33], "has 33 bytes"),
        (&[b'x'; 64], "has 64 characters that are not all hex digits"),
        (b"0123456789abcdef0123456789abcdef", "is 32 typed characters"),
    ];
    for (bytes, expected) in table {
        let error = MasterKey::from_bytes(bytes).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
}

#[test]
fn marks_are_those_of_another_implementation_and_of_one_purpose() {
    // Python: hmac(hkdf(32 bytes of 7, b"faxbridge 1 mark ..."), b"main"), HKDF and HMAC with SHA-256, without a salt.
    let known = [
        (Purpose::Webhook, "d6e331bb26efbed568ac3e9681f294f73809462aa281c96148cfe0c8bc954594"),
        (Purpose::Media, "11c801cd6452447f3c4bf19a156b80e68e13860429ddb02c674cb8d7fd7728ca"),
    ];
    let vault = vault(7);
    for (purpose, mark) in known {
        let marker = vault.marker(purpose);
        assert_eq!(marker.mark("main"), mark);
        assert_eq!(master(7).marker(purpose).unwrap().mark("main"), mark);
        assert!(marker.is_mark("main", mark));
        assert!(!master(8).marker(purpose).unwrap().is_mark("main", mark));
        for (text, mark) in [("mainx", mark), ("", mark), ("main", ""), ("main", &mark[..63])] {
            assert!(!marker.is_mark(text, mark), "{text} {mark}");
        }
    }
    assert!(!vault.marker(Purpose::Webhook).is_mark("main", known[1].1));
}
