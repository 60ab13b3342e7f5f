//! Commands that talk to a registry.

use std::env;
use std::path::PathBuf;
use std::sync::Arc;

use knarr_images::platform::Wanted;
use knarr_images::pull::{Pull, Puller};
use knarr_images::push::Push;
use knarr_images::registry::{Client, Config, CredentialStore, Credentials};
use knarr_images::{Error, Platform, Reference, Store};

use crate::cli::Options;
use crate::commands::reporter;
use crate::failure::Failure;

pub(crate) fn pull(
    options: &Options,
    store: Arc<Store>,
    image: &str,
    platform: Option<&str>,
) -> Result<(), Failure> {
    let reference = Reference::parse(image)?;
    let machine = match platform {
        None => Wanted::host(),
        Some(text) => {
            Wanted::only(&text.parse::<Platform>().map_err(|error| Failure::Usage(error.to_string()))?)
        }
    };
    let pull = Pull { credentials: credentials(&reference)?, reference, machine };
    let puller = Puller::new(store, client(options)?);
    puller.pull(&pull, &puller.cancel(), &mut reporter(options))?;
    Ok(())
}

pub(crate) fn push(options: &Options, store: &Store, image: &str) -> Result<(), Failure> {
    let reference = Reference::parse(image)?;
    let push = Push { credentials: credentials(&reference)?, reference };
    store.push(&client(options)?, &push, &mut reporter(options))?;
    Ok(())
}

fn client(options: &Options) -> Result<Client, Failure> {
    let config = Config { insecure: options.insecure.clone(), ..Config::default() };
    Ok(Client::new(&config).map_err(Error::from)?)
}

/// Those that `docker login` wrote down.
fn credentials(reference: &Reference) -> Result<Credentials, Failure> {
    let folder = env::var_os("DOCKER_CONFIG").map(PathBuf::from);
    let folder = folder.or_else(|| env::var_os("HOME").map(|home| PathBuf::from(home).join(".docker")));
    let Some(folder) = folder else { return Ok(Credentials::Anonymous) };
    let store = CredentialStore::new(&folder.join("config.json"));
    Ok(store.get(reference.registry()).map_err(Error::from)?)
}
