//! The client for OTLP over HTTP.

use std::error::Error;

use futures::FutureExt;
use futures::future::BoxFuture;
use opentelemetry_http::{Bytes, HttpClient, HttpError, Request, Response};
use tokio::sync::watch;

use crate::errors::chain_of;

/// A client that keeps why its last request failed. The exporter says no more of it than that the network is at fault.
#[derive(Debug)]
pub(super) struct Client {
    client: reqwest::blocking::Client,
    causes: watch::Sender<Option<String>>,
}

impl Client {
    /// The client, and where the cause of the last failure is found. There is none after a success.
    pub(super) fn new(client: reqwest::blocking::Client) -> (Self, watch::Receiver<Option<String>>) {
        let (causes, receiver) = watch::channel(None);
        (Self { client, causes }, receiver)
    }
}

impl HttpClient for Client {
    fn send_bytes<'client, 'call>(
        &'client self,
        request: Request<Bytes>,
    ) -> BoxFuture<'call, Result<Response<Bytes>, HttpError>>
    where
        'client: 'call,
        Self: 'call,
    {
        self.client
            .send_bytes(request)
            .inspect(|result| {
                let failed = result.as_ref().err();
                self.causes.send_replace(failed.map(|error| cause_of(error.as_ref())));
            })
            .boxed()
    }
}

/// Why a request failed. The URL, which may hold a password, is left out: the first message names it, and the causes do not.
fn cause_of(error: &(dyn Error + Send + Sync + 'static)) -> String {
    match error.source() {
        Some(cause) => chain_of(cause),
        None => "the request could not be made".to_owned(),
    }
}
