//! Ids on the wire and in keys.

use proptest::prelude::*;
use seawall_storage::Key as _;

use super::*;

proptest! {
    #[test]
    fn an_id_is_read_back_from_its_text(number in 1u64..ID_LIMIT) {
        let id = AccountId(number);
        prop_assert_eq!(id.to_string().parse(), Ok(id));
        let json = serde_json::to_string(&id).unwrap();
        prop_assert_eq!(&json, &format!("\"{number}\""));
        prop_assert_eq!(serde_json::from_str::<AccountId>(&json).unwrap(), id);
        let bytes = postcard::to_allocvec(&id).unwrap();
        prop_assert_eq!(postcard::from_bytes::<AccountId>(&bytes).unwrap(), id);
    }

    #[test]
    fn reading_is_total_and_strict(text in any::<String>()) {
        if let Ok(id) = text.parse::<PlayerId>() {
            prop_assert_eq!(id.to_string(), text);
        }
    }

    #[test]
    fn keys_keep_the_order_of_ids(a in any::<u64>(), b in any::<u64>()) {
        let bytes = |id: SessionId| { let mut out = Vec::new(); id.encode(&mut out); out };
        prop_assert_eq!(SessionId(a).cmp(&SessionId(b)), bytes(SessionId(a)).cmp(&bytes(SessionId(b))));
        prop_assert_eq!(SessionId::decode(&bytes(SessionId(a))).unwrap(), SessionId(a));
    }
}

#[test]
fn what_is_no_id_is_refused() {
    for bad in [
        "",
        "0",
        "01",
        "-1",
        "+1",
        " 1",
        "1 ",
        "1.0",
        "1e3",
        "0x1",
        "٣",
        "9007199254740992",
        "18446744073709551616",
        "99999999999999999999999",
    ] {
        assert!(bad.parse::<AccountId>().is_err(), "{bad}");
        assert!(
            serde_json::from_str::<AccountId>(&format!("\"{bad}\"")).is_err(),
            "{bad}"
        );
    }
    assert_eq!("9007199254740991".parse(), Ok(AccountId(ID_LIMIT - 1)));
    assert!(serde_json::from_str::<AccountId>("5").is_err(), "ids are strings");
}

#[test]
fn small_ids_end_below_2_to_the_32() {
    assert_eq!("4294967294".parse(), Ok(GameId(u32::MAX - 1)));
    for bad in ["4294967295", "4294967296", "9007199254740991"] {
        assert!(bad.parse::<GameId>().is_err(), "{bad}");
        assert!(bad.parse::<RealmId>().is_err(), "{bad}");
    }
    assert_eq!(
        "x".parse::<KeyId>().unwrap_err().to_string(),
        "not a decimal id from 1 below 4294967295"
    );
}
