//! What somebody wrote as a fax number, to the one number it can mean, or to a sentence why not.
//!
//! The numbering-plan library reads generously: it strips a second `1`, a `(0)`, an extension. A fax that is dialled from a
//! guess goes to a stranger, so its reading counts only if it has exactly the digits that were typed: the international form
//! with `+`, the organization's own national form, or the organization's own international prefix (`011`, `00`) in place of
//! `+`. Everything else is refused with what to write instead; nothing is ever repaired.

use std::fmt;

use rlibphonenumber::{
    CountryCodeSource, PHONE_NUMBER_UTIL, PhoneNumber, PhoneNumberFormat, PhoneNumberType, Region,
};

use crate::job::FaxNumber;

/// Longest text that is looked at, in characters; the longest number with all its punctuation is half of it.
const LONGEST: usize = 50;

/// How much of what was typed a sentence repeats, in characters.
const REPEATED: usize = 32;

/// Where the organization is and where it may fax to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NumberRules {
    country: Region,
    countries: Vec<Region>,
}

impl NumberRules {
    /// From ISO 3166 codes as in the configuration (`organization.country`, `policy.countries`). Without `countries` only the
    /// organization's own may be dialled. The United States do not include Puerto Rico and the other territories: they have
    /// codes of their own (`PR`, `GU`, `VI`, ...).
    ///
    /// # Errors
    /// A code that no numbering plan belongs to, as a sentence.
    pub fn new(country: &str, countries: &[String]) -> Result<Self, String> {
        let region = |code: &str| match Region::from_code(code) {
            Ok(region) if region != Region::World && calling_code(region).is_some() => Ok(region),
            _ => Err(format!(
                "{:?} is not the ISO 3166 code of a country with telephones, as \"US\"",
                shown(code)
            )),
        };
        let country = region(country)?;
        let countries = match countries {
            [] => vec![country],
            some => some.iter().map(|code| region(code)).collect::<Result<_, _>>()?,
        };
        Ok(NumberRules { country, countries })
    }

    /// The organization's country code, as `US`.
    #[must_use]
    pub fn country(&self) -> String {
        self.country.to_string()
    }
}

/// Why a text is not taken as a number; for the log, which must not hold the number itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FaultKind {
    /// Nothing, or no digits.
    Empty,
    /// Letters.
    Letters,
    /// A character that no number has.
    Character,
    /// An extension or pause behind the number.
    Extension,
    /// More than one number.
    Several,
    /// Fewer digits than any number has; an internal or local form.
    TooShort,
    /// More digits than any number has.
    TooLong,
    /// Could mean several numbers, or another country's national form.
    Ambiguous,
    /// Not assigned by the numbering plan.
    Invalid,
    /// Emergency and service codes.
    Emergency,
    /// Costs more than a call.
    PayPerCall,
    /// Satellite and other networks without a country.
    Satellite,
    /// A country that is not on the list.
    Country,
}

/// A text that is not taken as a number. Its sentence is for the sender and repeats what was typed: log only the kind.
#[derive(Clone, PartialEq, Eq, thiserror::Error)]
#[error("{sentence}")]
pub struct NumberFault {
    /// For logs and tests.
    pub kind: FaultKind,
    /// For the sender: what was typed, what is wrong with it, what to write instead.
    pub sentence: String,
}

impl fmt::Debug for NumberFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "NumberFault({:?})", self.kind)
    }
}

/// Reads `text` as one fax number.
///
/// # Errors
/// [`NumberFault`] for whatever is not exactly one valid number that `rules` allow to be dialled.
pub fn parse(text: &str, rules: &NumberRules) -> Result<FaxNumber, NumberFault> {
    let typed = Typed::read(text)?;
    emergency(&typed, rules)?;
    let number = match typed.form(rules) {
        Form::International(digits) => international(&typed, digits)?,
        Form::ForeignPrefix(rest) => return Err(typed.foreign_prefix(rest)),
        Form::National => national(&typed, rules)?,
    };
    allowed(&typed, &number, rules)?;
    FaxNumber::from_e164(&e164(&number))
        .map_err(|_| typed.fault(FaultKind::Invalid, "is not a telephone number"))
}

/// Whether two numbers are so alike that one may be the other with a slip of the finger: one digit changed, missing or too
/// many, or two neighbours swapped. A number is not near itself.
#[must_use]
pub fn near(a: &FaxNumber, b: &FaxNumber) -> bool {
    let (a, b) = (a.as_str().as_bytes(), b.as_str().as_bytes());
    let (short, long) = if a.len() <= b.len() { (a, b) } else { (b, a) };
    let front = short.iter().zip(long).take_while(|(x, y)| x == y).count();
    match (short.get(front..).unwrap_or_default(), long.get(front..).unwrap_or_default()) {
        ([p, q, s @ ..], [r, t, l @ ..]) if p == t && q == r && s == l => true,
        ([_, s @ ..], [_, l @ ..]) if s == l => true,
        (s, [_, l @ ..]) => s == l,
        (_, []) => false,
    }
}

/// What was typed, in ASCII digits.
struct Typed {
    shown: String,
    plus: bool,
    digits: String,
}

enum Form<'a> {
    /// With `+` or the country's own prefix for it; the digits after that.
    International(&'a str),
    /// With `00` where that is not the country's prefix; the digits after it.
    ForeignPrefix(&'a str),
    National,
}

impl Typed {
    fn read(text: &str) -> Result<Typed, NumberFault> {
        let text = text.trim();
        let mut typed = Typed { shown: shown(text), plus: false, digits: String::new() };
        if text.chars().count() > LONGEST {
            return Err(
                typed.fault(FaultKind::TooLong, "is too long for one telephone number; write one number")
            );
        }
        for (place, c) in text.char_indices() {
            match plain(c) {
                Some('+') if typed.plus => return Err(typed.several()),
                Some('+') if typed.digits.is_empty() => typed.plus = true,
                Some('+') => {
                    return Err(if typed.digits.len() >= 7 {
                        typed.several()
                    } else {
                        typed
                            .fault(FaultKind::Ambiguous, "has a + inside; write the + only at the very front")
                    });
                }
                Some(digit) if digit.is_ascii_digit() => typed.digits.push(digit),
                Some(_) => {}
                None => return Err(typed.stranger(c, text.get(place..).unwrap_or_default())),
            }
        }
        match typed.digits.len() {
            0 => Err(typed.fault(FaultKind::Empty, "has no digits; write the fax number, as +12125550199")),
            1..=18 => Ok(typed),
            _ => Err(typed
                .fault(FaultKind::TooLong, "has more digits than any telephone number; write one number")),
        }
    }

    /// The fault for `c`, which no number has; `rest` begins with it.
    fn stranger(&self, c: char, rest: &str) -> NumberFault {
        let behind = rest.chars().filter(|c| plain(*c).is_some_and(|c| c.is_ascii_digit())).count();
        let word: String = rest.chars().take_while(|c| c.is_alphabetic()).collect::<String>().to_lowercase();
        let enough = self.digits.len() >= 7;
        let list =
            matches!(c, ',' | ';' | '|' | '&' | '/' | '\n' | '\r') || matches!(word.as_str(), "and" | "or");
        let extension = matches!(c, '#' | ';' | ',' | '*' | '~')
            || matches!(word.as_str(), "x" | "ext" | "extension" | "p" | "w");
        if enough && list && behind >= 7 {
            self.several()
        } else if enough && extension && !self.digits.is_empty() {
            self.fault(
                FaultKind::Extension,
                "has an extension or pause, which a fax cannot dial; write the direct fax number alone",
            )
        } else if c.is_alphabetic() {
            self.fault(FaultKind::Letters, "has letters in it; write the number in digits, as +12125550199")
        } else {
            self.fault(
                FaultKind::Character,
                "has a character that no telephone number has; write digits, as +12125550199",
            )
        }
    }

    fn form(&self, rules: &NumberRules) -> Form<'_> {
        let digits = self.digits.as_str();
        if self.plus {
            Form::International(digits)
        } else if let Some(rest) = behind_own_prefix(digits, rules.country) {
            Form::International(rest)
        } else if let Some(rest) = digits.strip_prefix("00") {
            Form::ForeignPrefix(rest)
        } else {
            Form::National
        }
    }

    fn foreign_prefix(&self, rest: &str) -> NumberFault {
        let instead = match exact_international(rest) {
            Some(number) => format!(
                "begins with 00, which is not dialled here; write it with +{}: +{rest}",
                number.country_code
            ),
            None => {
                "begins with 00, which is not dialled here; write + and the country code instead".to_owned()
            }
        };
        self.fault(FaultKind::Ambiguous, &instead)
    }

    fn several(&self) -> NumberFault {
        self.fault(FaultKind::Several, "looks like more than one number; write one number for each fax")
    }

    fn fault(&self, kind: FaultKind, what: &str) -> NumberFault {
        let sentence = if self.shown.is_empty() {
            "No fax number is given; write it as +12125550199.".to_owned()
        } else {
            format!("The fax number \"{}\" {what}.", self.shown)
        };
        NumberFault { kind, sentence }
    }
}

/// Emergency and service codes, also behind a country code or an area code.
fn emergency(typed: &Typed, rules: &NumberRules) -> Result<(), NumberFault> {
    // 911 and 112 reach an emergency service from nearly every network; the others are those of large countries.
    const CODES: [&str; 12] =
        ["911", "112", "999", "000", "110", "119", "113", "118", "115", "117", "111", "108"];
    let digits = typed.digits.as_str();
    let code = calling_code(rules.country).map(|code| code.to_string()).unwrap_or_default();
    let bare = [Some(digits), digits.strip_prefix(code.as_str()), digits.strip_prefix('9')];
    let service = |d: &str| CODES.contains(&d) || (d.len() == 3 && d.ends_with("11"));
    if bare.into_iter().flatten().any(service) {
        return Err(typed.fault(
            FaultKind::Emergency,
            "is an emergency or service code and is never dialled; write the full fax number, as +12125550199",
        ));
    }
    Ok(())
}

fn international(typed: &Typed, digits: &str) -> Result<PhoneNumber, NumberFault> {
    let read = PHONE_NUMBER_UTIL.parse(format!("+{digits}"), None);
    let Ok(number) = read else {
        return Err(too_short_or(
            typed,
            digits,
            "does not begin with the code of any country; check the digits after the +",
        ));
    };
    let meant = e164(&number);
    if meant.strip_prefix('+') != Some(digits) {
        let what = if PHONE_NUMBER_UTIL.is_valid_number(&number) {
            format!(
                "has digits that are not dialled behind the country code; if {meant} is meant, write exactly that"
            )
        } else {
            "is not a telephone number; check its digits".to_owned()
        };
        return Err(typed.fault(FaultKind::Ambiguous, &what));
    }
    Ok(number)
}

fn national(typed: &Typed, rules: &NumberRules) -> Result<PhoneNumber, NumberFault> {
    let digits = typed.digits.as_str();
    let read = PHONE_NUMBER_UTIL.parse(digits, Some(rules.country)).ok();
    let own = read.filter(|number| Some(number.country_code) == calling_code(rules.country));
    if let Some(number) =
        own.filter(|number| PHONE_NUMBER_UTIL.is_valid_number(number) && is_national_form(number, digits))
    {
        return Ok(number);
    }
    let country = rules.country;
    // 011 also begins national numbers (Leeds, Buenos Aires): it is a foreign prefix only where it leads to nothing else.
    let abroad = digits.strip_prefix("011").filter(|rest| exact_international(rest).is_some());
    let (kind, what) = if let Some(rest) = abroad {
        (FaultKind::Ambiguous, format!("begins with 011, which is not dialled here; write +{rest}"))
    } else if digits.len() < 8 {
        let what =
            format!("is too short: country or area code are missing; write it in full, {}", example(country));
        (FaultKind::TooShort, what)
    } else if exact_international(digits).is_some() {
        let what = format!(
            "is not a number as written in this country ({country}); if it is in another country, write +{digits}"
        );
        (FaultKind::Ambiguous, what)
    } else if digits.starts_with('0') {
        let what = format!(
            "is not a number as written in this country ({country}); a number in another country needs + and its country code"
        );
        (FaultKind::Ambiguous, what)
    } else {
        let what = format!(
            "is not a number of this country ({country}); check the digits, and write + and the country code if abroad"
        );
        (FaultKind::Invalid, what)
    };
    Err(typed.fault(kind, &what))
}

/// Whether `digits` are how the number is written at home: as the plan formats it, or with the national prefix in front.
fn is_national_form(number: &PhoneNumber, digits: &str) -> bool {
    let formatted = PHONE_NUMBER_UTIL.format(number, PhoneNumberFormat::National);
    let plain: String = formatted.chars().filter(char::is_ascii_digit).collect();
    let code = number.country_code.to_string();
    let meant = e164(number);
    let significant =
        meant.strip_prefix('+').and_then(|rest| rest.strip_prefix(code.as_str())).unwrap_or_default();
    // In the North American plan the prefix is left out in print and is the country code besides.
    digits == plain || number.country_code == 1 && digits.strip_prefix('1') == Some(significant)
}

/// Whether a number that was read may be dialled: its country, its kind, its validity, in the order that explains best.
fn allowed(typed: &Typed, number: &PhoneNumber, rules: &NumberRules) -> Result<(), NumberFault> {
    match number.country_code {
        870 | 878 | 881 | 882 | 883 | 888 => {
            return Err(typed.fault(
                FaultKind::Satellite,
                "belongs to a satellite or worldwide network, which is never dialled",
            ));
        }
        979 | 808 => return Err(typed.pay_per_call()),
        _ => {}
    }
    let region = PHONE_NUMBER_UTIL.get_region_for_number(number);
    if let Some(region) = region.filter(|region| !rules.countries.contains(region)) {
        let what = format!(
            "is in {}, where this office does not fax to; check the number, or ask the administrator to allow that country",
            place(region)
        );
        return Err(typed.fault(FaultKind::Country, &what));
    }
    if number.country_code == 1 {
        north_american(typed, number)?;
    }
    if region.is_none() || !PHONE_NUMBER_UTIL.is_valid_number(number) {
        let digits = e164(number);
        return Err(too_short_or(
            typed,
            digits.trim_start_matches('+'),
            "is not a number that exists; check its digits",
        ));
    }
    match PHONE_NUMBER_UTIL.get_number_type(number) {
        PhoneNumberType::PremiumRate | PhoneNumberType::SharedCost | PhoneNumberType::PersonalNumber => {
            Err(typed.pay_per_call())
        }
        PhoneNumberType::Pager | PhoneNumberType::VoiceMail | PhoneNumberType::Unknown => {
            Err(typed
                .fault(FaultKind::Invalid, "is not a number that a fax machine can have; check its digits"))
        }
        PhoneNumberType::FixedLine
        | PhoneNumberType::Mobile
        | PhoneNumberType::FixedLineOrMobile
        | PhoneNumberType::TollFree
        | PhoneNumberType::VoIP
        | PhoneNumberType::UAN => Ok(()),
    }
}

/// What the library takes for ordinary numbers in the North American plan and is not: N11 exchanges are service codes, 976
/// exchanges are pay-per-call in every area, 555-1212 is directory assistance (NANPA central office code guidelines).
fn north_american(typed: &Typed, number: &PhoneNumber) -> Result<(), NumberFault> {
    let digits = format!("{:010}", number.national_number);
    let (area, exchange, line) = (digits.get(..3), digits.get(3..6), digits.get(6..));
    match (area, exchange, line) {
        (Some("900" | "976"), ..) | (_, Some("976"), _) => Err(typed.pay_per_call()),
        (Some(area), Some(exchange), _) if area.ends_with("11") || exchange.ends_with("11") => Err(typed
            .fault(
                FaultKind::Emergency,
                "holds a service code in place of an area or exchange and is never dialled; check its digits",
            )),
        (_, Some("555"), Some("1212")) => {
            Err(typed
                .fault(FaultKind::Invalid, "is directory assistance, not a fax machine; check its digits"))
        }
        _ => Ok(()),
    }
}

impl Typed {
    fn pay_per_call(&self) -> NumberFault {
        self.fault(
            FaultKind::PayPerCall,
            "is charged above a normal call (premium, shared cost or personal number) and is never dialled",
        )
    }
}

fn too_short_or(typed: &Typed, digits: &str, otherwise: &str) -> NumberFault {
    match digits.len() {
        0..8 => typed.fault(
            FaultKind::TooShort,
            "is too short for an international number; write + and all its digits",
        ),
        16.. => {
            typed.fault(FaultKind::TooLong, "has more digits than any telephone number; write one number")
        }
        _ => typed.fault(FaultKind::Invalid, otherwise),
    }
}

/// The number behind `+digits`, if it is valid and read without dropping anything.
fn exact_international(digits: &str) -> Option<PhoneNumber> {
    let number = PHONE_NUMBER_UTIL.parse(format!("+{digits}"), None).ok()?;
    (PHONE_NUMBER_UTIL.is_valid_number(&number) && e164(&number).strip_prefix('+') == Some(digits))
        .then_some(number)
}

fn e164(number: &PhoneNumber) -> String {
    PHONE_NUMBER_UTIL.format(number, PhoneNumberFormat::E164).into_owned()
}

fn calling_code(region: Region) -> Option<i32> {
    PHONE_NUMBER_UTIL.get_country_code_for_region(region)
}

/// The digits behind the prefix that `country` dials before a country code, if `digits` begin with it.
fn behind_own_prefix(digits: &str, country: Region) -> Option<&str> {
    let number = PHONE_NUMBER_UTIL.parse_and_keep_raw_input(digits, Some(country)).ok()?;
    if number.country_code_source() != CountryCodeSource::FromNumberWithIdd {
        return None;
    }
    // Where the prefix depends on the carrier the library knows more of them; only those that cannot be mistaken are taken.
    let rest = ["0011", "011", "010", "00"].into_iter().find_map(|prefix| digits.strip_prefix(prefix))?;
    (e164(&number).strip_prefix('+') == Some(rest)).then_some(rest)
}

/// A number of that country, to show how one is written.
fn example(region: Region) -> String {
    match calling_code(region) {
        Some(1) => "as +12125550199".to_owned(),
        Some(code) => format!("as +{code} and the digits that follow"),
        None => "with + and the country code".to_owned(),
    }
}

/// The country's name where its numbers look like those of the United States, else its code.
fn place(region: Region) -> String {
    const LOOK_ALIKES: [(&str, &str); 25] = [
        ("AG", "Antigua and Barbuda"),
        ("AI", "Anguilla"),
        ("AS", "American Samoa"),
        ("BB", "Barbados"),
        ("BM", "Bermuda"),
        ("BS", "the Bahamas"),
        ("CA", "Canada"),
        ("DM", "Dominica"),
        ("DO", "the Dominican Republic"),
        ("GD", "Grenada"),
        ("GU", "Guam"),
        ("JM", "Jamaica"),
        ("KN", "Saint Kitts and Nevis"),
        ("KY", "the Cayman Islands"),
        ("LC", "Saint Lucia"),
        ("MP", "the Northern Mariana Islands"),
        ("MS", "Montserrat"),
        ("PR", "Puerto Rico"),
        ("SX", "Sint Maarten"),
        ("TC", "the Turks and Caicos Islands"),
        ("TT", "Trinidad and Tobago"),
        ("US", "the United States"),
        ("VC", "Saint Vincent and the Grenadines"),
        ("VG", "the British Virgin Islands"),
        ("VI", "the US Virgin Islands"),
    ];
    let code = region.to_string();
    match LOOK_ALIKES.iter().find(|(known, _)| *known == code) {
        Some((_, name)) => format!("{name} ({code})"),
        None if region == Region::World => "no country (a worldwide network)".to_owned(),
        None => format!("another country ({code})"),
    }
}

/// A character of a number in ASCII: a digit, `+`, or `-` for any of the separators that people write. Full-width forms come
/// from East Asian keyboards and mean the same; a slash is not among them, because it also lists alternatives (`901820/21`).
fn plain(c: char) -> Option<char> {
    match c {
        '0'..='9' | '+' => Some(c),
        '\u{ff10}'..='\u{ff19}' => char::from_digit(u32::from(c) - 0xff10, 10),
        '\u{ff0b}' => Some('+'),
        ' ' | '\t' | '\u{a0}' | '\u{2000}'..='\u{200a}' | '\u{202f}' | '\u{3000}' => Some('-'),
        '-' | '\u{2010}'..='\u{2015}' | '\u{2212}' | '\u{ff0d}' => Some('-'),
        '.' | '(' | ')' | '\u{ff08}' | '\u{ff09}' | '\u{ff0e}' => Some('-'),
        _ => None,
    }
}

/// `text` fit to stand in a sentence: cut, and without characters that could break or turn around the line.
pub(crate) fn shown(text: &str) -> String {
    crate::text::quotable(text, REPEATED)
}

#[cfg(test)]
mod tests;
