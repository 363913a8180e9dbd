//! Which column of a file is what: by the manifest's mapping, the named layout, or the names alone.

use std::collections::BTreeMap;
use std::path::Path;

use laioncele_core::manifest::{Layout, SourceSettings};
use laioncele_core::nearest::suggestion;

use crate::error::SourceError;
use crate::layout::{self, Need};
use crate::role::Role;

/// How a file is to be understood.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wanted<'a> {
    pub(crate) settings: &'a SourceSettings,
    pub(crate) needs: &'a [Need],
    pub(crate) purpose: Purpose,
}

/// What a file is read for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// Captions: each file must have a column of them.
    Captions,
    /// Urls, with captions or without. Text is a format of its own: a url a line.
    Urls,
}

/// What was found out about a file's columns.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Detected {
    /// Its layout; none where the manifest maps all columns, or where the names alone decided.
    pub(crate) layout: Option<Layout>,
    /// Role → number of the file's column.
    pub(crate) columns: BTreeMap<Role, usize>,
}

impl Wanted<'_> {
    /// Whether the manifest itself maps `role`, and does not take it out.
    pub(crate) fn maps(&self, role: Role) -> bool {
        (self.settings.columns.get(role.as_str())).is_some_and(|column| !column.is_empty())
    }

    /// What `names`, the columns of the file at `path`, are. `is_usable` says whether a column that
    /// only the layout proposes may be taken.
    ///
    /// # Errors
    /// A column that is mapped or needed and not there, or could be one of two.
    pub(crate) fn detect(
        &self,
        path: &Path,
        names: &[String],
        is_usable: impl Fn(Role, usize) -> bool,
    ) -> Result<Detected, SourceError> {
        self.check_present(path, names)?;
        let layout = match self.settings.layout {
            None if !self.settings.maps_all() => layout::detect(names),
            layout => layout,
        };
        let known = if self.settings.maps_all() {
            &[]
        } else {
            layout::columns(layout)
        };
        let mut columns = BTreeMap::new();
        for role in Role::ALL {
            let proposed = known.iter().find(|(of, _)| *of == role);
            let column = match self.settings.columns.get(role.as_str()) {
                Some(taken_out) if taken_out.is_empty() => None,
                Some(column) => find(path, role, column, names)?,
                None => {
                    let mut found = None;
                    for column in proposed.map_or(&[][..], |(_, names)| names) {
                        if found.is_none() {
                            found = find(path, role, column, names)?;
                        }
                    }
                    found.filter(|number| is_usable(role, *number))
                }
            };
            columns.extend(column.map(|number| (role, number)));
        }
        self.check_needed(path, names, layout, &columns)?;
        Ok(Detected { layout, columns })
    }

    /// Whether the file has all mapped columns; if not, the error names each that is missing.
    fn check_present(&self, path: &Path, names: &[String]) -> Result<(), SourceError> {
        let has = |column: &str| names.iter().any(|name| name.eq_ignore_ascii_case(column));
        let mapped = self.settings.columns.iter();
        let mut absent = mapped.filter(|(_, column)| !column.is_empty() && !has(column));
        let Some((role, column)) = absent.next() else {
            return Ok(());
        };
        let others: String = absent
            .map(|(role, column)| format!("; no column `{column}` for `{role}`"))
            .collect();
        Err(SourceError::MissingColumn {
            path: path.to_owned(),
            column: column.clone(),
            role: role.clone(),
            hint: suggestion(column, names) + &others,
        })
    }

    fn check_needed(
        &self,
        path: &Path,
        names: &[String],
        layout: Option<Layout>,
        columns: &BTreeMap<Role, usize>,
    ) -> Result<(), SourceError> {
        let always: &[Role] = match self.purpose {
            Purpose::Captions => &[Role::Url, Role::Caption],
            Purpose::Urls => &[Role::Url],
        };
        let always = always.iter().map(|role| (*role, String::new()));
        let needs = self.needs.iter();
        let needs = needs.map(|need| (need.role, format!(", which {} needs", need.setting)));
        let needed = always.chain(needs);
        let Some((role, why)) = needed
            .into_iter()
            .find(|(role, _)| !columns.contains_key(role))
        else {
            return Ok(());
        };
        let known = layout::columns(layout).iter().find(|(of, _)| *of == role);
        let looked_for = match known {
            Some((_, names)) if !self.settings.maps_all() => names.join(", "),
            _ => format!("`{role}` in [source.columns]", role = role.as_str()),
        };
        Err(SourceError::UnknownColumn {
            path: path.to_owned(),
            role: role.as_str(),
            why,
            looked_for,
            found: names.join(", "),
        })
    }
}

/// The number of the column called `wanted`: exactly so, else in any case.
fn find(
    path: &Path,
    role: Role,
    wanted: &str,
    names: &[String],
) -> Result<Option<usize>, SourceError> {
    let mut exact = (0..names.len()).filter(|&i| names[i] == wanted);
    if let Some(first) = exact.next() {
        if exact.next().is_some() {
            return Err(SourceError::RepeatedColumn {
                path: path.to_owned(),
                column: wanted.to_owned(),
                role: role.as_str(),
            });
        }
        return Ok(Some(first));
    }
    let mut alike = (0..names.len()).filter(|&i| names[i].eq_ignore_ascii_case(wanted));
    let first = alike.next();
    if let (Some(first), Some(second)) = (first, alike.next()) {
        return Err(SourceError::AmbiguousColumn {
            path: path.to_owned(),
            column: wanted.to_owned(),
            role: role.as_str(),
            first: names[first].clone(),
            second: names[second].clone(),
        });
    }
    Ok(first)
}
