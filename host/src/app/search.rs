//! Which apps somebody may mean.
//!
//! Every word must be found in an app: in its slug or name, in a category, or in its summary, and a slip of the keyboard
//! counts as the word it is nearest to. The better the place, the further up. It reads what the index holds and parses no
//! declaration.

use deputy_declaration::types::EvidenceLevel;

use super::AppSummary;

/// What a listing is narrowed to; an empty one lets all through.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    pub category: Option<String>,
    /// `oauth2`, `keys` or `exchange`
    pub method: Option<String>,
    /// At least this level.
    pub evidence: Option<EvidenceLevel>,
}

impl Filter {
    pub fn lets(&self, app: &AppSummary) -> bool {
        let among = |list: &[String], wanted: &Option<String>| {
            wanted.as_ref().is_none_or(|wanted| list.iter().any(|had| had.eq_ignore_ascii_case(wanted)))
        };
        among(&app.categories, &self.category)
            && among(&app.kinds, &self.method)
            && self.evidence.is_none_or(|least| rank(app.evidence) >= rank(least))
    }
}

fn rank(level: EvidenceLevel) -> u8 {
    match level {
        EvidenceLevel::Facts => 0,
        EvidenceLevel::Checked => 1,
        EvidenceLevel::Verified => 2,
    }
}

/// The apps that hold all words, best first; without a word, none.
pub fn search(apps: Vec<AppSummary>, words: &[String]) -> Vec<AppSummary> {
    let words: Vec<String> = words.iter().flat_map(|word| split(word)).collect();
    if words.is_empty() {
        return Vec::new();
    }
    let whole = words.concat();
    let score = |app: AppSummary| {
        let fields = Fields::of(&app);
        let mut sum = if fields.slug == whole || fields.name == whole { WHOLE } else { 0 };
        for word in &words {
            sum += fields.score(word)?;
        }
        Some((sum, app))
    };
    let mut found: Vec<(u32, AppSummary)> = apps.into_iter().filter_map(score).collect();
    found.sort_by(|(one, a), (other, b)| {
        other.cmp(one).then(rank(b.evidence).cmp(&rank(a.evidence))).then_with(|| a.slug.cmp(&b.slug))
    });
    found.into_iter().map(|(_, app)| app).collect()
}

const WHOLE: u32 = 1000;

/// The texts of one app, in small letters.
struct Fields {
    slug: String,
    name: String,
    names: Vec<String>,
    categories: Vec<String>,
    summary: Vec<String>,
}

impl Fields {
    fn of(app: &AppSummary) -> Self {
        let names: Vec<String> = split(&app.slug).into_iter().chain(split(&app.name)).collect();
        Self {
            slug: split(&app.slug).concat(),
            name: split(&app.name).concat(),
            names,
            categories: app.categories.iter().flat_map(|category| split(category)).collect(),
            summary: split(&app.summary),
        }
    }

    /// None: the word is nowhere.
    fn score(&self, word: &str) -> Option<u32> {
        let is = |had: &String| had == word;
        let begins = |had: &String| had.starts_with(word);
        if self.slug == word || self.name == word {
            Some(100)
        } else if self.slug.starts_with(word) || self.name.starts_with(word) {
            Some(80)
        } else if self.names.iter().any(is) {
            Some(70)
        } else if self.names.iter().any(begins) {
            Some(60)
        } else if self.categories.iter().any(is) {
            Some(40)
        } else if self.slug.contains(word) {
            Some(30)
        } else if self.summary.iter().any(is) {
            Some(20)
        } else if self.summary.iter().chain(&self.categories).any(begins) {
            Some(10)
        } else if [&self.slug, &self.name].into_iter().chain(&self.names).any(|had| near(word, had)) {
            Some(5)
        } else {
            None
        }
    }
}

/// One slip in a short word, two in a long one; none in three letters, where every word is near another.
fn near(word: &str, had: &str) -> bool {
    let allowed = match word.chars().count() {
        0..=3 => return false,
        4..=7 => 1,
        _ => 2,
    };
    // Lengths tell most pairs apart, and cost nothing.
    word.len().abs_diff(had.len()) <= allowed && strsim::damerau_levenshtein(word, had) <= allowed
}

fn split(text: &str) -> Vec<String> {
    text.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()).map(str::to_lowercase).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn app(slug: &str, name: &str, summary: &str, category: &str, level: EvidenceLevel) -> AppSummary {
        AppSummary {
            slug: slug.into(),
            name: name.into(),
            summary: summary.into(),
            categories: vec![category.into()],
            methods: vec!["oauth".into()],
            kinds: vec!["oauth2".into()],
            evidence: level,
            evidence_date: "2026-11-23".into(),
            logo: false,
            hash: String::new(),
            builtin: true,
        }
    }

    fn apps() -> Vec<AppSummary> {
        use EvidenceLevel::{Checked, Facts};
        vec![
            app("slack", "Slack", "Channels and messages of a workspace.", "communication", Facts),
            app("google-sheets", "Google Sheets", "Rows and cells.", "spreadsheets", Checked),
            app("google-drive", "Google Drive", "Files and folders, also those of Sheets.", "storage", Facts),
            app("smartsheet", "Smartsheet", "Plans in rows.", "spreadsheets", Facts),
            app("salesforce", "Salesforce", "Contacts and deals.", "crm", Checked),
        ]
    }

    fn slugs(words: &[&str]) -> Vec<String> {
        let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
        search(apps(), &words).into_iter().map(|app| app.slug).collect()
    }

    #[test]
    fn the_better_place_comes_first() {
        assert_eq!(slugs(&["slack"]), ["slack"]);
        assert_eq!(slugs(&["Google", "SHEETS"]), ["google-sheets", "google-drive"]);
        assert_eq!(slugs(&["google sheets"]), ["google-sheets", "google-drive"]);
        assert_eq!(slugs(&["sheets"]), ["google-sheets", "google-drive"]);
        assert_eq!(slugs(&["sheet"]), ["google-sheets", "smartsheet", "google-drive"]);
        assert_eq!(slugs(&["spreadsheets"]), ["google-sheets", "smartsheet"]);
        assert_eq!(slugs(&["contacts"]), ["salesforce"]);
    }

    #[test]
    fn a_slip_is_forgiven_and_nonsense_is_not() {
        assert_eq!(slugs(&["slakc"]), ["slack"]);
        assert_eq!(slugs(&["salesfroce"]), ["salesforce"]);
        assert_eq!(slugs(&["gogle", "sheets"]), ["google-sheets", "google-drive"]);
        for nothing in [&["zzzz"][..], &["slack", "zzzz"], &[], &["-"]] {
            assert_eq!(slugs(nothing), Vec::<String>::new(), "{nothing:?}");
        }
    }

    #[test]
    fn filters_narrow_by_category_method_and_least_evidence() {
        let left = |filter: Filter| apps().into_iter().filter(|app| filter.lets(app)).count();
        assert_eq!(left(Filter::default()), 5);
        assert_eq!(left(Filter { category: Some("CRM".into()), ..Filter::default() }), 1);
        assert_eq!(left(Filter { method: Some("keys".into()), ..Filter::default() }), 0);
        assert_eq!(left(Filter { method: Some("oauth2".into()), ..Filter::default() }), 5);
        for (least, count) in [(EvidenceLevel::Facts, 5), (EvidenceLevel::Checked, 2), (EvidenceLevel::Verified, 0)] {
            assert_eq!(left(Filter { evidence: Some(least), ..Filter::default() }), count);
        }
    }
}
