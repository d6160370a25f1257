//! Compares two WIT types, and says the first difference in words.

use wit_parser::{Function, FunctionKind, Handle, Resolve, Type, TypeDefKind, TypeId, TypeOwner, WorldItem};

/// As [`difference`], of an import: it may ask for less than there is.
pub(super) fn part_difference(found: &Resolve, have: &WorldItem, wanted: &Resolve, want: &WorldItem) -> Option<String> {
    let (WorldItem::Interface { id: have, .. }, WorldItem::Interface { id: want, .. }) = (have, want) else {
        return Some("it is another kind of item".to_owned());
    };
    let sides = Sides { found, wanted };
    let (have, want) = (&found.interfaces[*have].functions, &wanted.interfaces[*want].functions);
    have.iter().find_map(|(name, have)| match want.get(name) {
        None => Some(format!("the function `{name}` is unknown here")),
        Some(want) => sides.functions(have, want).map(|difference| format!("function `{name}`: {difference}")),
    })
}

/// Both sides of a comparison.
struct Sides<'r> {
    found: &'r Resolve,
    wanted: &'r Resolve,
}

/// None when `have` is what is wanted.
pub(super) fn difference(found: &Resolve, have: &WorldItem, wanted: &Resolve, want: &WorldItem) -> Option<String> {
    let sides = Sides { found, wanted };
    match (have, want) {
        (WorldItem::Interface { id: have, .. }, WorldItem::Interface { id: want, .. }) => {
            let (have, want) = (&found.interfaces[*have].functions, &wanted.interfaces[*want].functions);
            for (name, want) in want {
                match have.get(name) {
                    None => return Some(format!("the function `{name}` is missing")),
                    Some(have) => {
                        if let Some(difference) = sides.functions(have, want) {
                            return Some(format!("function `{name}`: {difference}"));
                        }
                    }
                }
            }
            have.keys()
                .find(|name| !want.contains_key(*name))
                .map(|name| format!("the function `{name}` is unknown here"))
        }
        (WorldItem::Function(have), WorldItem::Function(want)) => sides.functions(have, want),
        _ => Some("it is another kind of item".to_owned()),
    }
}

impl Sides<'_> {
    fn functions(&self, have: &Function, want: &Function) -> Option<String> {
        // Of which resource stands in the name.
        let same = match (&have.kind, &want.kind) {
            (FunctionKind::Method(_), FunctionKind::Method(_))
            | (FunctionKind::Static(_), FunctionKind::Static(_))
            | (FunctionKind::Constructor(_), FunctionKind::Constructor(_)) => true,
            (have, want) => have == want,
        };
        if !same {
            return Some("it is asynchronous, or bound to a resource".to_owned());
        }
        if have.params.len() != want.params.len() {
            return Some(format!("it takes {} parameters, {} are wanted", have.params.len(), want.params.len()));
        }
        for (have, want) in have.params.iter().zip(&want.params) {
            if let Some(difference) = self.types(&have.ty, &want.ty, &format!("parameter `{}`", want.name)) {
                return Some(difference);
            }
        }
        match (&have.result, &want.result) {
            (None, None) => None,
            (Some(have), Some(want)) => self.types(have, want, "the result"),
            (None, Some(_)) => Some("it has no result".to_owned()),
            (Some(_), None) => Some("it has a result".to_owned()),
        }
    }

    /// `place` names what is compared.
    fn types(&self, have: &Type, want: &Type, place: &str) -> Option<String> {
        let (have, want) = (resolved(self.found, have), resolved(self.wanted, want));
        let (have_kind, want_kind) = match (have, want) {
            (Type::Id(have), Type::Id(want)) => (&self.found.types[have], &self.wanted.types[want]),
            (have, want) if have == want => return None,
            (have, want) => {
                return Some(format!("{place} is {}, wanted {}", word(self.found, &have), word(self.wanted, &want)));
            }
        };
        let name = want_kind.name.as_deref();
        let other = || Some(format!("{place} is {}, wanted {}", word(self.found, &have), word(self.wanted, &want)));
        match (&have_kind.kind, &want_kind.kind) {
            (TypeDefKind::Record(have), TypeDefKind::Record(want)) => {
                let place = name.map_or_else(|| place.to_owned(), |name| format!("record `{name}`"));
                let names = |fields: &[wit_parser::Field]| fields.iter().map(|f| f.name.clone()).collect::<Vec<_>>();
                if let Some(difference) = members(&names(&have.fields), &names(&want.fields), &place, "field") {
                    return Some(difference);
                }
                let pairs = have.fields.iter().zip(&want.fields);
                pairs.into_iter().find_map(|(have, want)| {
                    self.types(&have.ty, &want.ty, &format!("field `{}` of {place}", want.name))
                })
            }
            (TypeDefKind::Variant(have), TypeDefKind::Variant(want)) => {
                let place = name.map_or_else(|| place.to_owned(), |name| format!("variant `{name}`"));
                let names = |cases: &[wit_parser::Case]| cases.iter().map(|case| case.name.clone()).collect::<Vec<_>>();
                if let Some(difference) = members(&names(&have.cases), &names(&want.cases), &place, "case") {
                    return Some(difference);
                }
                have.cases.iter().zip(&want.cases).find_map(|(have, want)| match (&have.ty, &want.ty) {
                    (None, None) => None,
                    (Some(have), Some(want_ty)) => {
                        self.types(have, want_ty, &format!("case `{}` of {place}", want.name))
                    }
                    (None, Some(_)) => Some(format!("case `{}` of {place} lacks its value", want.name)),
                    (Some(_), None) => Some(format!("case `{}` of {place} has a value", want.name)),
                })
            }
            (TypeDefKind::Enum(have), TypeDefKind::Enum(want)) => {
                let place = name.map_or_else(|| place.to_owned(), |name| format!("enum `{name}`"));
                let names = |e: &wit_parser::Enum| e.cases.iter().map(|case| case.name.clone()).collect::<Vec<_>>();
                members(&names(have), &names(want), &place, "case")
            }
            (TypeDefKind::List(have), TypeDefKind::List(want)) => self.types(have, want, &format!("{place} (items)")),
            (TypeDefKind::Option(have), TypeDefKind::Option(want)) => self.types(have, want, place),
            (TypeDefKind::Result(have), TypeDefKind::Result(want)) => {
                let pairs = [(&have.ok, &want.ok), (&have.err, &want.err)];
                pairs.into_iter().find_map(|pair| match pair {
                    (None, None) => None,
                    (Some(have), Some(want)) => self.types(have, want, place),
                    _ => other(),
                })
            }
            (TypeDefKind::Handle(Handle::Own(have)), TypeDefKind::Handle(Handle::Own(want)))
            | (TypeDefKind::Handle(Handle::Borrow(have)), TypeDefKind::Handle(Handle::Borrow(want))) => {
                let (have, want) = (resource(self.found, *have), resource(self.wanted, *want));
                (have != want).then(|| format!("{place} is a handle of {have}, wanted {want}"))
            }
            _ => other(),
        }
    }
}

/// Names, in order: the canonical ABI counts positions.
fn members(have: &[String], want: &[String], place: &str, what: &str) -> Option<String> {
    if let Some(missing) = want.iter().find(|name| !have.contains(name)) {
        return Some(format!("{place} lacks the {what} `{missing}`"));
    }
    if let Some(extra) = have.iter().find(|name| !want.contains(name)) {
        return Some(format!("{place} has the {what} `{extra}`, which is unknown here"));
    }
    (have != want).then(|| format!("{place} has its {what}s in another order"))
}

/// A resource, with the interface that it belongs to.
fn resource(resolve: &Resolve, id: TypeId) -> String {
    let Type::Id(id) = resolved(resolve, &Type::Id(id)) else { return "no resource".to_owned() };
    let ty = &resolve.types[id];
    let owner = match ty.owner {
        TypeOwner::Interface(id) => resolve.id_of(id),
        TypeOwner::World(_) | TypeOwner::None => None,
    };
    format!("`{}` of `{}`", ty.name.as_deref().unwrap_or_default(), owner.as_deref().unwrap_or("the component"))
}

/// Through aliases.
fn resolved(resolve: &Resolve, ty: &Type) -> Type {
    let mut ty = *ty;
    while let Type::Id(id) = ty
        && let TypeDefKind::Type(inner) = resolve.types[id].kind
    {
        ty = inner;
    }
    ty
}

fn word(resolve: &Resolve, ty: &Type) -> String {
    match resolved(resolve, ty) {
        Type::Id(id) => match &resolve.types[id] {
            wit_parser::TypeDef { kind: TypeDefKind::Option(inner), .. } => format!("option<{}>", word(resolve, inner)),
            wit_parser::TypeDef { kind: TypeDefKind::List(inner), .. } => format!("list<{}>", word(resolve, inner)),
            wit_parser::TypeDef { name: Some(name), kind, .. } => format!("{} `{name}`", kind.as_str()),
            wit_parser::TypeDef { kind, .. } => kind.as_str().to_owned(),
        },
        primitive => format!("{primitive:?}").to_lowercase(),
    }
}
