#!/usr/bin/env python3
"""Reads Secrets as the programs of docs/consumers.md do, with the parsers that those written in Python use, and with the same rules for the
others.

Takes the Secrets as JSON on standard input, by the name of the example: {"velero": {"credentials": "..."}, ...}. Prints what each program
finds in its own: the three parts of a session as a list, or the host, user name and password of a login.
"""

import base64
import configparser
import json
import sys
import tempfile
from pathlib import Path
from urllib.parse import parse_qsl, unquote, urlsplit
from xml.etree import ElementTree

import botocore.configloader
import yaml

REGION = "eu-west-1"


def three_keys(secret):
    assert set(secret) == {"awsAccessKeyId", "awsSecretAccessKey", "awsSessionToken"}, set(secret)
    return [secret["awsAccessKeyId"], secret["awsSecretAccessKey"], secret["awsSessionToken"]]


def credentials_file(secret):
    """As botocore reads it."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "credentials")
        path.write_text(secret["credentials"])
        profile = botocore.configloader.load_config(str(path))["profiles"]["default"]
    return [profile["aws_access_key_id"], profile["aws_secret_access_key"], profile["aws_session_token"]]


def credential_process(secret):
    config = configparser.RawConfigParser()
    config.read_string(secret["config"])
    assert config["default"]["credential_process"] == "cat /.aws/credentials.json"
    document = json.loads(secret["credentials.json"])
    assert document["Version"] == 1 and document["Expiration"].endswith("Z"), document["Expiration"]
    return [document["AccessKeyId"], document["SecretAccessKey"], document["SessionToken"]]


def rclone(secret):
    config = configparser.RawConfigParser()
    config.read_string(secret["rclone.conf"])
    remote = config["s3"]
    assert (remote["type"], remote["provider"], remote["region"]) == ("s3", "AWS", REGION)
    return [remote["access_key_id"], remote["secret_access_key"], remote["session_token"]]


def airflow(secret):
    """As Airflow's Connection takes a URI apart."""
    uri = urlsplit(secret["AIRFLOW_CONN_AWS_DEFAULT"])
    extra = dict(parse_qsl(uri.query, keep_blank_values=True))
    assert (uri.scheme, uri.hostname, uri.path, extra["region_name"]) == ("aws", None, "/", REGION), "the URI has other parts"
    return [unquote(uri.username), unquote(uri.password), extra["aws_session_token"]]


def hadoop(secret):
    properties = {
        each.findtext("name"): each.findtext("value")
        for each in ElementTree.fromstring(secret["core-site.xml"]).iter("property")
    }
    assert properties["fs.s3a.aws.credentials.provider"].endswith(".TemporaryAWSCredentialsProvider")
    assert properties["fs.s3a.endpoint.region"] == REGION
    return [properties["fs.s3a.access.key"], properties["fs.s3a.secret.key"], properties["fs.s3a.session.token"]]


def grafana(secret):
    (source,) = yaml.safe_load(secret["cloudwatch.yaml"])["datasources"]
    assert source["jsonData"] == {"authType": "keys", "defaultRegion": REGION}
    secure = source["secureJsonData"]
    return [secure["accessKey"], secure["secretKey"], secure["sessionToken"]]


def login(host, username, password):
    return {"host": host, "username": username, "password": password}


def argo_cd(secret):
    assert (secret["type"], secret["enableOCI"]) == ("helm", "true")
    return login(secret["url"], secret["username"], secret["password"])


def image_updater(secret):
    username, password = secret["login"].split(":", 1)
    return login(None, username, password)


def docker_config(secret):
    ((host, entry),) = json.loads(secret[".dockerconfigjson"])["auths"].items()
    username, password = base64.b64decode(entry["auth"], validate=True).decode().split(":", 1)
    assert (username, password) == (entry["username"], entry["password"]), "auth says something else"
    return login(host, username, password)


def basic_auth(secret):
    assert set(secret) == {"username", "password"}, set(secret)
    return login(None, secret["username"], secret["password"])


def renovate(secret):
    (rule,) = json.loads(secret["RENOVATE_HOST_RULES"])
    assert rule["hostType"] == "docker"
    return login(rule["matchHost"], rule["username"], rule["password"])


READERS = {
    "airflow": airflow,
    "argo-cd": argo_cd,
    "argo-cd-image-updater": image_updater,
    "cloudnative-pg": three_keys,
    "crossplane": credentials_file,
    "external-secrets": three_keys,
    "flux": docker_config,
    "grafana": grafana,
    "hadoop-spark": hadoop,
    "jenkins": basic_auth,
    "keda": three_keys,
    "mountpoint-s3": three_keys,
    "rclone": rclone,
    "renovate": renovate,
    "tekton": basic_auth,
    "thanos": credential_process,
    "velero": credentials_file,
    "volsync": rclone,
}

if __name__ == "__main__":
    secrets = json.load(sys.stdin)
    json.dump({name: READERS[name](secret) for name, secret in secrets.items()}, sys.stdout)
