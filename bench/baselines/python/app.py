"""The same work with Python and boto3: leads by emails, and a sign-up as one item. It asks nobody for a token. Below it is
the least that a Lambda runtime needs."""

import http.client
import json
import os
import time

import boto3

TABLE = os.environ["CLIENTS_TABLE"]
db = boto3.resource("dynamodb")
clients = db.Table(TABLE)


def leads(body):
    emails, found = body["emails"], {}
    for at in range(0, len(emails), 100):
        wanted = {TABLE: {"Keys": [{"pk": f"E#{email}"} for email in emails[at : at + 100]]}}
        while wanted:
            got = db.batch_get_item(RequestItems=wanted)
            for item in got["Responses"].get(TABLE, []):
                email = item["pk"][2:]
                created, id = item["c"].split("#", 1)
                updated = item["u"].split("#", 1)[0]
                found[email] = {"id": id, "email": email, "status": item["s"], "createdDate": created}
                found[email] |= {"updatedDate": updated, "ftd": str(item.get("f", ""))}
            wanted = got.get("UnprocessedKeys")
    return found


def sign_up(body):
    id = f"python-{body['email']}"
    item = {**body, "pk": f"N#{id}", "createdDate": int(time.time() * 1000)}
    clients.put_item(Item=item, ConditionExpression="attribute_not_exists(pk)")
    return {"id": id}


def handle(event):
    body = json.loads(event["body"])
    answer = leads(body) if event["rawPath"].endswith("/leads") else sign_up(body)
    return {"statusCode": 200, "headers": {"content-type": "application/json"}, "body": json.dumps(answer)}


def main():
    runtime = http.client.HTTPConnection(os.environ["AWS_LAMBDA_RUNTIME_API"])

    def call(method, path, body=None):
        runtime.request(method, f"/2018-06-01/runtime/invocation/{path}", body)
        response = runtime.getresponse()
        return response.headers, response.read()

    while True:
        headers, event = call("GET", "next")
        id = headers["Lambda-Runtime-Aws-Request-Id"]
        try:
            call("POST", f"{id}/response", json.dumps(handle(json.loads(event))))
        except Exception as error:
            call("POST", f"{id}/error", json.dumps({"errorType": type(error).__name__, "errorMessage": str(error)}))


main()
