//! A picture for an app without one: its first letters on a colour of its own. The same for the same app, always.

use std::fmt::Write as _;

/// An SVG of 64 by 64, readable on light and dark pages since it brings its own ground.
pub fn monogram(slug: &str, name: &str) -> String {
    let letters = escaped(&letters(name));
    let hue = hue(slug);
    let size = if letters.chars().count() > 1 { 28 } else { 34 };
    let mut svg = String::from("<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 64 64\">");
    // Dark enough under white letters at every hue: at least 4.5 to 1 (WCAG 2.2, 1.4.3).
    let _ = write!(svg, "<rect width=\"64\" height=\"64\" rx=\"14\" fill=\"{}\"/>", colour(hue));
    let _ = write!(
        svg,
        "<text x=\"32\" y=\"33\" fill=\"#ffffff\" font-family=\"sans-serif\" font-size=\"{size}\" font-weight=\"600\" \
         text-anchor=\"middle\" dominant-baseline=\"central\">{letters}</text></svg>"
    );
    svg
}

/// The first letters of the first two words, or the first of one.
fn letters(name: &str) -> String {
    let words = name.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty());
    let firsts: String = words.filter_map(|word| word.chars().next()).take(2).collect();
    match firsts.is_empty() {
        true => "?".to_owned(),
        false => firsts.to_uppercase(),
    }
}

fn escaped(text: &str) -> String {
    text.chars().filter(|c| c.is_alphanumeric() || *c == '?').collect()
}

/// FNV-1a over the slug, as degrees.
fn hue(slug: &str) -> u16 {
    let hash = slug.bytes().fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
    u16::try_from(hash % 360).unwrap_or(0)
}

/// A hue at a fixed lightness, darker where the eye sees more light.
fn colour(hue: u16) -> String {
    let lightness = if (40..200).contains(&hue) { 0.26 } else { 0.36 };
    let saturation = 0.55;
    let channel = |offset: f64| {
        let k = (offset + f64::from(hue) / 30.0) % 12.0;
        let a = saturation * f64::min(lightness, 1.0 - lightness);
        let value = lightness - a * f64::max(-1.0, f64::min(k - 3.0, f64::min(9.0 - k, 1.0)));
        // Between 0 and 255 for these bounds.
        (value * 255.0).round() as u8
    };
    format!("#{:02x}{:02x}{:02x}", channel(0.0), channel(8.0), channel(4.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_hue_carries_white_letters() {
        let light = |text: &str| u8::from_str_radix(text, 16).map(|byte| f64::from(byte) / 255.0).unwrap();
        let linear = |value: f64| if value <= 0.04045 { value / 12.92 } else { ((value + 0.055) / 1.055).powf(2.4) };
        for hue in 0..360 {
            let colour = colour(hue);
            let [red, green, blue] = [1, 3, 5].map(|at| linear(light(&colour[at..at + 2])));
            let luminance = 0.2126 * red + 0.7152 * green + 0.0722 * blue;
            assert!(1.05 / (luminance + 0.05) >= 4.5, "{hue}: {colour}");
        }
    }

    #[test]
    fn it_is_a_logo_that_an_app_could_have() {
        let text = "slug = \"acme\"\nname = \"Acme\"\nsummary = \"An example.\"\nbase = \"https://api.acme.example\"\n\
                    evidence = { level = \"facts\", date = \"2026-11-23\", source = \"a test\" }\n\
                    methods.key.header.Authorization = \"Bearer {token}\"\n";
        let mut app =
            deputy_declaration::source::parse("app.toml", text).unwrap_or_else(|problems| panic!("{problems}"));
        app.logo = Some(monogram("acme", "Acme Parcels"));
        let findings = deputy_declaration::validate::validate(&app);
        assert!(findings.is_empty(), "{findings:?}");
    }

    #[test]
    fn letters_of_names() {
        for (name, wanted) in [
            ("Google Sheets", "GS"),
            ("stripe", "S"),
            ("1Password", "1"),
            ("<&>", "?"),
            ("Über Öl", "ÜÖ"),
            ("a b c", "AB"),
        ] {
            assert_eq!(letters(name), wanted, "{name}");
        }
        let svg = monogram("acme", "A<b \"x\"");
        assert!(svg.starts_with("<svg ") && svg.contains(">AB</text>"), "{svg}");
        assert_eq!(svg, monogram("acme", "A<b \"x\""));
        assert_ne!(monogram("acme", "A"), monogram("other", "A"));
    }
}
