"""The commands with --stack-name: against an emulator of AWS (moto) that has a stack of template.yaml's
tables and outputs. Usage: stack_name.py PROGRAM"""

import csv
import io
import json
import logging
import os
import pathlib
import subprocess
import sys
import tempfile

import boto3
import yaml
from moto.server import ThreadedMotoServer

ROOT = pathlib.Path(__file__).parents[2]
REGION = "eu-west-1"


class Template(yaml.SafeLoader):
    """YAML with CloudFormation's short tags."""


def tag(loader, name, node):
    value = loader.construct_scalar(node) if isinstance(node, yaml.ScalarNode) else loader.construct_sequence(node)
    return {name if name == "Ref" else f"Fn::{name}": value}


Template.add_multi_constructor("!", tag)


def stack_template():
    """The tables of template.yaml, as far as the emulator knows their properties, and their outputs."""
    whole = yaml.load((ROOT / "template.yaml").read_text(), Template)
    known = {"AttributeDefinitions", "KeySchema", "BillingMode", "GlobalSecondaryIndexes"}
    tables = {
        name: {"Type": table["Type"], "Properties": {k: v for k, v in table["Properties"].items() if k in known}}
        for name, table in whole["Resources"].items()
        if table["Type"] == "AWS::DynamoDB::Table"
    }
    outputs = {name: output for name, output in whole["Outputs"].items() if name.endswith("TableName")}
    assert len(tables) == len(outputs) == 6
    return json.dumps({"Resources": tables, "Outputs": outputs})


def main(program):
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    host, port = server.get_host_and_port()
    endpoint = f"http://{host}:{port}"
    keys = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test"}
    os.environ.update(keys)
    stacks = boto3.client("cloudformation", region_name=REGION, endpoint_url=endpoint)
    stacks.create_stack(StackName="wbcs", TemplateBody=stack_template())
    queue = {"Resources": {"Queue": {"Type": "AWS::SQS::Queue"}}}
    stacks.create_stack(StackName="other", TemplateBody=json.dumps(queue))

    environment = {k: v for k, v in os.environ.items() if not k.startswith("AWS_")}
    environment |= keys | {"AWS_REGION": REGION, "AWS_ENDPOINT_URL": endpoint}

    def run(command, *options, code=0, without=()):
        arguments = [program, command, *options, "--stack-name", "wbcs"]
        if "--stack-name" in options:
            arguments = arguments[:-2]
        own = {k: v for k, v in environment.items() if k not in without}
        done = subprocess.run(arguments, env=own, capture_output=True, text=True, check=False)
        assert done.returncode == code, done
        return done

    token = run("bootstrap").stdout.strip()
    assert token.startswith("wbcs_"), token
    refused = run("bootstrap", code=1)
    assert "an administrator's token exists" in refused.stderr and not refused.stdout, refused
    missing = run("bootstrap", "--stack-name", "none", code=1)
    assert "Stack with id none does not exist" in missing.stderr, missing
    other = run("bootstrap", "--stack-name", "other", code=1)
    assert "has no output TokensTableName" in other.stderr, other
    nowhere = run("bootstrap", code=1, without=["AWS_REGION"])
    assert "no AWS region: give --region" in nowhere.stderr, nowhere
    run("bootstrap", "--force", "--region", REGION, without=["AWS_REGION"])

    # A bucket, as the admin API stores it, is not at hand here: these clients have none.
    with tempfile.TemporaryDirectory() as folder:
        clients = pathlib.Path(folder, "clients.csv")
        rows = [[f"c{number}@example.com", "12345", "A", "new"] for number in range(40)]
        text = io.StringIO()
        csv.writer(text).writerows([["email", "phone", "firstName", "status"], *rows])
        clients.write_text(text.getvalue())
        done = run("import", str(clients), "--parallel", "1")
        assert done.stdout.startswith("40 imported, 0 updated, 0 duplicates skipped, 0 rejected"), done
        again = run("import", str(clients), "--parallel", "1", "--restart", "--on-duplicate", "update")
        assert again.stdout.startswith("0 imported, 40 updated"), again
    checked = run("check")
    assert "40 clients, 40 leads, 0 buckets, 2 tokens, 4 roles" in checked.stdout, checked
    assert checked.stdout.endswith("Consistent.\n"), checked
    unknown = run("export", "nowhere", code=1)
    assert unknown.stderr == "error: there is no bucket nowhere\n", unknown
    server.stop()
    print("bootstrap, import, export and check work on a stack by its name")


main(sys.argv[1])
