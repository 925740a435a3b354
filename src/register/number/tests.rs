use proptest::prelude::*;

use super::*;

fn rules(country: &str, countries: &[&str]) -> NumberRules {
    let countries: Vec<String> = countries.iter().map(|code| (*code).to_owned()).collect();
    NumberRules::new(country, &countries).unwrap()
}

/// Far and wide, so that only the form decides.
fn wide(country: &str) -> NumberRules {
    rules(
        country,
        &["US", "CA", "DE", "GB", "FR", "CN", "BR", "IT", "JP", "AR", "MX", "DO", "KY", "MA", "AU"],
    )
}

#[test]
fn numbers_that_are_taken() {
    for (country, text, number) in [
        ("US", "+12125550199", "+12125550199"),
        ("US", " +1 (212) 555-0100 ", "+12125550100"),
        ("US", "+1.212.555.0142", "+12125550142"),
        ("US", "2125550199", "+12125550199"),
        ("US", "(212) 555-0199", "+12125550199"),
        ("US", "12125550199", "+12125550199"),
        ("US", "1-212-555-0199", "+12125550199"),
        ("US", "(+1) 212 555 0199", "+12125550199"),
        ("US", "\u{ff0b}\u{ff11}\u{ff12}\u{ff11}\u{ff12}5550199", "+12125550199"),
        ("US", "212\u{a0}555\u{2011}0199", "+12125550199"),
        ("US", "011 49 30 901820", "+4930901820"),
        ("US", "+18005550199", "+18005550199"),
        ("US", "888-555-0199", "+18885550199"),
        // crates.md 1.1: these lost a digit in another library with the default country US.
        ("US", "+33123456789", "+33123456789"),
        ("US", "+8613800138000", "+8613800138000"),
        ("US", "+5511987654321", "+5511987654321"),
        ("US", "+39 06 1234 5678", "+390612345678"),
        ("US", "4165550199", "+14165550199"),
        ("US", "+18095550199", "+18095550199"),
        ("DE", "030 901820", "+4930901820"),
        ("DE", "0049 30 901820", "+4930901820"),
        ("DE", "001 212 555 0199", "+12125550199"),
        ("GB", "020 7946 0958", "+442079460958"),
        ("GB", "0113 496 0999", "+441134960999"),
        ("IT", "06 1234 5678", "+390612345678"),
        ("AU", "0011 1 212 555 0199", "+12125550199"),
    ] {
        let taken = parse(text, &wide(country));
        assert_eq!(
            taken.as_ref().map(FaxNumber::as_str).map_err(|fault| &fault.sentence),
            Ok(number),
            "{country} {text}"
        );
    }
}

#[test]
fn numbers_that_are_refused() {
    use FaultKind::*;
    for (country, text, kind) in [
        ("US", "", Empty),
        ("US", " - ", Empty),
        ("US", "+", Empty),
        ("US", "1-800-FLOWERS", Letters),
        ("US", "FAX=+12125550199", Letters),
        ("US", "tel:+12125550199", Letters),
        ("US", "+1212555O199", Letters),
        ("US", "\u{661}\u{662}5550199", Character),
        ("US", "212_555_0199", Character),
        ("US", "+1 212 555 0199\u{202e}", Character),
        ("US", "+1 212 555 0199 ext. 12", Extension),
        ("US", "+1 212 555 0199 x12", Extension),
        ("US", "+12125550199#12", Extension),
        ("US", "+12125550199;ext=12", Extension),
        ("US", "+12125550199,,,12", Extension),
        ("US", "+12125550199, +12125550198", Several),
        ("US", "2125550199; 2125550198", Several),
        ("US", "2125550199 or 2125550198", Several),
        ("US", "2125550199\n2125550198", Several),
        ("US", "2125550199/2125550198", Several),
        ("US", "+12125550199 +12125550198", Several),
        ("US", "++12125550199", Several),
        ("US", "1+2125550199", Ambiguous),
        ("DE", "030 901820/21", Character),
        ("US", "2125550199 2125550198", TooLong),
        ("US", "+1212555019901234567890123", TooLong),
        ("US", "+12125550199012", Invalid),
        ("US", "1111111111111111111111111111111111111111111111111111", TooLong),
        ("US", "5550199", TooShort),
        ("US", "62612", TooShort),
        ("US", "0", TooShort),
        ("US", "+1555", TooShort),
        ("US", "+4930", TooShort),
        ("US", "0049 30 901820", Ambiguous),
        ("US", "00 12", Ambiguous),
        ("US", "030 1234567", Ambiguous),
        ("US", "020 7946 0958", Ambiguous),
        ("US", "4930901820", Ambiguous),
        ("US", "442079460958", Ambiguous),
        ("US", "81335550199", Ambiguous),
        // A second 1, a (0), the prefix of mobiles: the library drops them; we do not.
        ("US", "1 1 212 555 0199", Invalid),
        ("US", "+1 1 212 555 0199", Ambiguous),
        ("DE", "+49 (0)30 901820", Ambiguous),
        ("US", "+54 11 15 2345 6789", Ambiguous),
        ("DE", "49 30 901820", Ambiguous),
        // Without the area's 0 it is a number of whoever's own town.
        ("DE", "30 901820", Invalid),
        ("US", "011 49", TooShort),
        ("GB", "011 49 30 901820", Ambiguous),
        ("US", "+1 012 555 0199", Invalid),
        ("US", "+1 123 456 7890", Invalid),
        ("US", "+1 555 234 5678", Invalid),
        ("US", "+1 710 555 0199", Invalid),
        ("US", "+999 123456789", Invalid),
        ("US", "+1 212 555 1212", Invalid),
        ("US", "911", Emergency),
        ("US", "9-911", Emergency),
        ("US", "+1 911", Emergency),
        ("US", "112", Emergency),
        ("US", "411", Emergency),
        ("GB", "999", Emergency),
        ("US", "+1 212 911 2345", Emergency),
        ("US", "+1 900 555 0199", PayPerCall),
        ("US", "900-234-5678", PayPerCall),
        ("US", "+1 212 976 5555", PayPerCall),
        ("US", "+1 500 555 0006", PayPerCall),
        ("US", "+44 909 879 0000", PayPerCall),
        ("US", "+49 180 1234567", PayPerCall),
        ("US", "+979 1 2345 6789", PayPerCall),
        ("US", "+870 773 111 632", Satellite),
        ("US", "+881 6 1234 5678", Satellite),
        ("US", "+800 1234 5678", Country),
    ] {
        let fault = parse(text, &wide(country)).map(|number| number.to_string());
        assert_eq!(
            fault.as_ref().map_err(|fault| fault.kind),
            Err(kind),
            "{country} {text:?} {:?}",
            fault.as_ref().map_err(|f| &f.sentence)
        );
    }
}

#[test]
fn other_countries_are_refused_by_their_region_not_by_their_code() {
    let home = rules("US", &[]);
    for (text, part) in [
        ("+18095550199", "in the Dominican Republic (DO)"),
        ("809-555-0199", "in the Dominican Republic (DO)"),
        ("+13455550199", "in the Cayman Islands (KY)"),
        ("+18765550199", "in Jamaica (JM)"),
        ("+14165550199", "in Canada (CA)"),
        ("+17875550199", "in Puerto Rico (PR)"),
        ("+4930901820", "in another country (DE)"),
        ("01149 30 901820", "in another country (DE)"),
    ] {
        let fault = parse(text, &home).unwrap_err();
        assert_eq!(fault.kind, FaultKind::Country, "{text}");
        assert!(fault.sentence.contains(part) && fault.sentence.contains(text), "{}", fault.sentence);
    }
    assert!(parse("+18095550199", &rules("US", &["US", "DO"])).is_ok());
    assert!(
        parse("+12125550199", &rules("US", &["DO"])).is_err(),
        "the list is the list, the own country included"
    );
}

#[test]
fn sentences_name_what_was_typed_and_what_to_write() {
    for (country, text, sentence) in [
        (
            "US",
            "0049 30 901820",
            "The fax number \"0049 30 901820\" begins with 00, which is not dialled here; write it with +49: +4930901820.",
        ),
        ("US", "", "No fax number is given; write it as +12125550199."),
        (
            "US",
            "030 1234567",
            "The fax number \"030 1234567\" is not a number as written in this country (US); a number in another country needs + \
             and its country code.",
        ),
        (
            "US",
            "5550199",
            "The fax number \"5550199\" is too short: country or area code are missing; write it in full, as +12125550199.",
        ),
        (
            "DE",
            "+49 (0)30 901820",
            "The fax number \"+49 (0)30 901820\" has digits that are not dialled behind the country code; if +4930901820 is meant, \
             write exactly that.",
        ),
    ] {
        assert_eq!(parse(text, &wide(country)).unwrap_err().sentence, sentence);
    }
    let hostile = parse("\u{202e}\"\r\nDelivered: yes 12125550199", &wide("US")).unwrap_err();
    assert!(!hostile.sentence.contains(['\r', '\n', '\u{202e}']), "{:?}", hostile.sentence);
    assert_eq!(format!("{hostile:?}"), "NumberFault(Character)", "no digits in a log");
}

#[test]
fn only_countries_make_rules() {
    for bad in ["", "USA", "ZZ", "001", "12", "\u{fc}s"] {
        assert!(NumberRules::new(bad, &[]).is_err(), "{bad}");
        assert!(NumberRules::new("US", &[bad.to_owned()]).is_err(), "{bad}");
    }
    assert_eq!(NumberRules::new("us", &[]).unwrap().country(), "US");
}

#[test]
fn slips_of_the_finger_are_near() {
    let number = |text: &str| FaxNumber::from_e164(text).unwrap();
    for (other, is_near) in [
        ("+12125550199", false),
        ("+12125550198", true),
        ("+22125550199", true),
        ("+12125550919", true),
        ("+12125505199", true),
        ("+1212555019", true),
        ("+121255501999", true),
        ("+112125550199", true),
        ("+12125550918", false),
        ("+12125550188", false),
        ("+12125551909", false),
        ("+1212555", false),
        ("+4930901820", false),
    ] {
        assert_eq!(near(&number("+12125550199"), &number(other)), is_near, "{other}");
        assert_eq!(near(&number(other), &number("+12125550199")), is_near, "{other}");
    }
}

proptest! {
    #[test]
    fn nothing_panics_and_what_is_taken_stays(
        text in "\\PC{0,40}|[0-9+(). x,;/-]{0,30}|\\+?[0-9]{3,16}|(\\+1|1|011|00|0)?[2-9][0-9]{9}",
        country in prop::sample::select(vec!["US", "DE", "GB", "IT", "AR", "MX", "BR", "JP", "FI", "RU"]),
    ) {
        let rules = wide(country);
        match parse(&text, &rules) {
            Ok(number) => {
                prop_assert_eq!(&FaxNumber::from_e164(number.as_str()), &Ok(number.clone()));
                prop_assert_eq!(parse(number.as_str(), &rules), Ok(number.clone()));
                // Its digits are those that were typed, but for a prefix: nothing was dropped from the inside or the end.
                let typed: String = text.chars().filter_map(plain).filter(char::is_ascii_digit).collect();
                // (A short number's own prefix is among its last seven digits: 0201000 is +49201000.)
                let tail = typed.get(typed.len().saturating_sub(7).max(2).min(typed.len())..).unwrap();
                prop_assert!(number.as_str().ends_with(tail), "{} {}", text, number);
                prop_assert!(!near(&number, &number));
            }
            Err(fault) => prop_assert!(fault.sentence.ends_with('.') && !fault.sentence.contains('\n')),
        }
    }
}
