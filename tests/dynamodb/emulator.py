"""An emulator of DynamoDB (moto) on a free port of the loopback address, which it prints; it ends with its input."""

import copy
import os
import sys
import threading

os.environ["MOTO_ALLOW_NONEXISTENT_REGION"] = "true"  # each test has one of its own

import werkzeug.serving
from moto.dynamodb.models import DynamoDBBackend
from moto.dynamodb.models.dynamo_type import DynamoType
from moto.dynamodb.models.table import Table
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, MotoRequestHandler, create_backend_app


class Before:
    """The items that a transaction names, as they were. moto itself copies all of the tables, which takes seconds for a
    few hundred items, and leaves who reads a stream with the one that was copied."""

    def __init__(self, backend, entries):
        self.items = []
        for operation in (operation for entry in entries for operation in entry.values()):
            table = backend.tables.get(operation.get("TableName"))
            key = operation.get("Key", operation.get("Item", {}))
            names = table and [name for name in (table.hash_key_attr, table.range_key_attr) if name]
            if names and all(name in key for name in names):
                path = [DynamoType(key[name]) for name in names]
                stream = table.stream_shard and len(table.stream_shard.items)
                self.items.append((table, path, copy.deepcopy(table.get_item(*path)), stream))

    def restore(self):
        for table, path, item, stream in reversed(self.items):
            holder = table.items if len(path) == 1 else table.items[path[0]]
            if item is None:
                holder.pop(path[-1], None)
            else:
                holder[path[-1]] = item
            if table.stream_shard:
                del table.stream_shard.items[stream:]


def transact_write_items(self, entries, original=DynamoDBBackend.transact_write_items):
    before = Before(self, entries)
    try:
        return original(self, entries)
    except Exception:
        before.restore()
        raise


DynamoDBBackend.transact_write_items = transact_write_items
Table.__deepcopy__ = lambda self, _: self


class Quiet(MotoRequestHandler):
    protocol_version = "HTTP/1.1"  # keeps connections
    disable_nagle_algorithm = True

    def log(self, *_):
        pass


def main():
    application, lock, calls = DomainDispatcherApplication(create_backend_app), threading.Lock(), 0

    def one_at_a_time(environ, start_response):
        """A transaction is one only while nothing else is written."""
        nonlocal calls
        if environ["PATH_INFO"] == "/calls":
            start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(str(calls))))])
            return [str(calls).encode()]
        with lock:
            calls += "HTTP_X_AMZ_TARGET" in environ
            return list(application(environ, start_response))

    server = werkzeug.serving.make_server("127.0.0.1", 0, one_at_a_time, threaded=True, request_handler=Quiet)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print(server.port, flush=True)
    sys.stdin.read()
    os._exit(0)


if __name__ == "__main__":
    main()
