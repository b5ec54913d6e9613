//! The parser of one filter.

use std::iter::Peekable;
use std::str::Chars;

use regex::{Regex, RegexBuilder};

use super::{Filter, MAX_BYTES, MAX_REGEX_BYTES, ParseError, Selector, Test};

/// Parses one filter.
pub(super) fn parse(filter: &str) -> Result<Filter, ParseError> {
    let mut parser = Parser { rest: filter.chars().peekable(), position: 0 };
    let parsed = if filter.len() > MAX_BYTES {
        Err(wrong(0, format!("{} bytes, {MAX_BYTES} are allowed,", filter.len())))
    } else if filter.is_empty() {
        Ok(Filter::new())
    } else {
        parser.filter()
    };
    parsed.map_err(|Wrong { position, reason }| ParseError {
        filter: filter.chars().take(320).collect(),
        reason,
        position,
    })
}

/// What is wrong, and where in characters from 0.
struct Wrong {
    position: usize,
    reason: String,
}

type Parsed<T> = Result<T, Wrong>;

fn wrong(position: usize, reason: impl Into<String>) -> Wrong {
    Wrong { position, reason: reason.into() }
}

/// What stands between two quotes is plain text, or a pattern: patterns may have other quotes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Quotes {
    Text,
    Pattern,
}

struct Parser<'a> {
    rest: Peekable<Chars<'a>>,
    position: usize,
}

impl Parser<'_> {
    fn peek(&mut self) -> Option<char> {
        self.rest.peek().copied()
    }

    fn next(&mut self) -> Option<char> {
        let next = self.rest.next();
        self.position += usize::from(next.is_some());
        next
    }

    fn take_while(&mut self, wanted: impl Fn(char) -> bool) -> String {
        let mut taken = String::new();
        while let Some(next) = self.peek().filter(|next| wanted(*next)) {
            taken.push(next);
            self.next();
        }
        taken
    }

    fn skip_space(&mut self) {
        self.take_while(char::is_whitespace);
    }

    fn filter(&mut self) -> Parsed<Filter> {
        let mut filter = vec![self.selector()?];
        loop {
            match self.peek() {
                None => return Ok(filter),
                Some(',') => {
                    self.next();
                    filter.push(self.selector()?);
                }
                Some(other) => return Err(wrong(self.position, format!("unexpected {other:?}"))),
            }
        }
    }

    fn selector(&mut self) -> Parsed<Selector> {
        let path = self.path()?;
        if matches!(self.peek(), None | Some(',')) {
            return Ok(Selector { path, test: Test::Present });
        }
        self.skip_space();
        let position = self.position;
        let test = match self.take_while(is_operator).as_str() {
            "==" => Test::Equal(self.value(Quotes::Text)?),
            "!=" => Test::NotEqual(self.value(Quotes::Text)?),
            "~=" => Test::Matches(self.regex()?),
            "" => return Err(wrong(position, "expected one of the operators ==, != and ~=")),
            other => return Err(wrong(position, format!("{other} is none of the operators ==, != and ~="))),
        };
        Ok(Selector { path, test })
    }

    fn path(&mut self) -> Parsed<Vec<String>> {
        let mut path = vec![self.field()?];
        while self.peek() == Some('.') {
            self.next();
            path.push(self.field()?);
        }
        Ok(path)
    }

    fn field(&mut self) -> Parsed<String> {
        self.skip_space();
        match self.peek() {
            Some(quote) if is_quote(quote) => self.quoted(Quotes::Text),
            Some(next) if is_field(next) => Ok(self.take_while(is_field)),
            _ => Err(wrong(self.position, "expected a field or a quoted field")),
        }
    }

    fn value(&mut self, quotes: Quotes) -> Parsed<String> {
        self.skip_space();
        match self.peek() {
            Some(quote) if is_quote(quote) => self.quoted(quotes),
            // Neither a separator nor an operator begins a value, though both may stand inside of one.
            Some(next) if is_value(next) && next != '.' && !is_operator(next) => Ok(self.take_while(is_value)),
            _ => Err(wrong(self.position, "expected a value or a quoted value")),
        }
    }

    fn regex(&mut self) -> Parsed<Regex> {
        let position = self.position;
        let pattern = self.value(Quotes::Pattern)?;
        let built = RegexBuilder::new(&pattern).size_limit(MAX_REGEX_BYTES).dfa_size_limit(MAX_REGEX_BYTES).build();
        built.map_err(|error| {
            // The whole text draws the pattern with a mark under it, over several lines; the last says what is wrong.
            let text = error.to_string();
            let reason = text.lines().last().unwrap_or_default().trim_start_matches("error: ");
            wrong(position, format!("regular expression {pattern:?}: {reason}"))
        })
    }

    /// A text between quotes with the escapes of a Go string.
    fn quoted(&mut self, quotes: Quotes) -> Parsed<String> {
        let begin = self.position;
        let quote = self.next().unwrap_or('"');
        if quote != '"' && quotes == Quotes::Text {
            return Err(wrong(begin, format!("only the pattern of ~= may be quoted with {quote:?}")));
        }
        // Bytes, since \x and octal escapes are bytes: together they must be text.
        let mut bytes = Vec::new();
        loop {
            let position = self.position;
            match self.next() {
                Some(end) if end == quote => break,
                Some('\\') => self.escape(quote, position, &mut bytes)?,
                Some('\0') => return Err(wrong(position, "a null character")),
                None | Some('\n') => return Err(wrong(begin, "a quoted text that does not end")),
                Some(other) => push(&mut bytes, other),
            }
        }
        String::from_utf8(bytes).map_err(|_| wrong(begin, "a quoted text whose escapes make no UTF-8"))
    }

    /// What follows a backslash.
    fn escape(&mut self, quote: char, position: usize, bytes: &mut Vec<u8>) -> Parsed<()> {
        let unknown = || wrong(position, "an escape that Go does not know");
        let next = self.next().ok_or_else(unknown)?;
        match next {
            'a' => bytes.push(7),
            'b' => bytes.push(8),
            't' => bytes.push(b'\t'),
            'n' => bytes.push(b'\n'),
            'v' => bytes.push(11),
            'f' => bytes.push(12),
            'r' => bytes.push(b'\r'),
            '\\' => bytes.push(b'\\'),
            'x' => bytes.push(u8::try_from(self.digits(0, 16, 2).ok_or_else(unknown)?).map_err(|_| unknown())?),
            'u' => push(bytes, self.digits(0, 16, 4).and_then(char::from_u32).ok_or_else(unknown)?),
            'U' => push(bytes, self.digits(0, 16, 8).and_then(char::from_u32).ok_or_else(unknown)?),
            _ if next == quote => push(bytes, quote),
            _ => {
                let first = next.to_digit(8).ok_or_else(unknown)?;
                let value = self.digits(first, 8, 2).ok_or_else(unknown)?;
                bytes.push(u8::try_from(value).map_err(|_| unknown())?);
            }
        }
        Ok(())
    }

    /// Goes on with the number `value` by exactly `count` digits.
    fn digits(&mut self, value: u32, radix: u32, count: u32) -> Option<u32> {
        (0..count).try_fold(value, |value, _| {
            let digit = self.next()?.to_digit(radix)?;
            value.checked_mul(radix)?.checked_add(digit)
        })
    }
}

fn push(bytes: &mut Vec<u8>, character: char) {
    bytes.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
}

fn is_field(c: char) -> bool {
    c == '-' || c == '_' || c.is_ascii_alphanumeric()
}

fn is_operator(c: char) -> bool {
    matches!(c, '=' | '!' | '~')
}

fn is_quote(c: char) -> bool {
    matches!(c, '/' | '|' | '"')
}

fn is_value(c: char) -> bool {
    c != ',' && !c.is_whitespace() && !c.is_control()
}
