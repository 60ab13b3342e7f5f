//! Failures of the image library in Docker's classes.

use knarr_images::{Error as Failure, registry};

use crate::error::{Error, Kind};

impl From<Failure> for Error {
    fn from(failure: Failure) -> Self {
        Self::new(kind(&failure), sentence(&failure))
    }
}

impl From<registry::Error> for Error {
    fn from(failure: registry::Error) -> Self {
        Failure::from(failure).into()
    }
}

/// An error and what caused it, in one line.
pub(crate) fn sentence(error: &dyn std::error::Error) -> String {
    let mut sentence = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        sentence.push_str(": ");
        sentence.push_str(&error.to_string());
        cause = error.source();
    }
    sentence
}

fn kind(failure: &Failure) -> Kind {
    match failure {
        Failure::NoSuchImage(_) | Failure::NoSuchSnapshot(_) | Failure::Platform(_) => Kind::NotFound,
        Failure::Conflict(_) => Kind::Conflict,
        Failure::AmbiguousId { .. }
        | Failure::Reference(_)
        | Failure::InvalidTag(_)
        | Failure::NoImages
        | Failure::LoadEntry { .. }
        | Failure::TooManyFiles(_) => Kind::InvalidParameter,
        Failure::Registry(error) => of_registry(error),
        _ => Kind::System,
    }
}

fn of_registry(error: &registry::Error) -> Kind {
    match error {
        registry::Error::Download { status, .. } => of_status(status.as_u16()),
        registry::Error::DownloadAddress(_)
        | registry::Error::SearchScheme(_)
        | registry::Error::SearchLimit(_)
        | registry::Error::SecureIndex { .. }
        | registry::Error::InsecureIndex { .. } => Kind::InvalidParameter,
        registry::Error::AccessDenied { .. }
        | registry::Error::ManifestUnknown { .. }
        | registry::Error::RepositoryUnknown { .. } => Kind::NotFound,
        registry::Error::Answer(answer) if answer.status() == 400 => Kind::System,
        registry::Error::Answer(answer) => of_status(answer.status()),
        _ => Kind::System,
    }
}

fn of_status(status: u16) -> Kind {
    match status {
        400 => Kind::InvalidParameter,
        401 => Kind::Unauthorized,
        403 => Kind::Forbidden,
        404 => Kind::NotFound,
        _ => Kind::System,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_have_dockers_classes() {
        let table = [
            (Failure::NoSuchImage("x:latest".to_owned()), Kind::NotFound, "No such image: x:latest"),
            (Failure::Conflict("why".to_owned()), Kind::Conflict, "conflict: why"),
            (Failure::LayersMismatch, Kind::System, "layers from manifest don't match image configuration"),
        ];
        for (failure, kind, text) in table {
            let error = Error::from(failure);
            assert_eq!((error.kind, error.message.as_str()), (kind, text));
        }
    }
}
