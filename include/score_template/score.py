"""Serve the precomputed recommendations beside this file, on OCI Data Science Model Deployment.

Standard library only, Python 3.9 or newer. OCI's server imports this file and calls `predict` with the body
of each request. The artifact is verified and opened at import: a damaged one never starts to serve.

Request: ``{"user_id": "42", "top_k": 5}``. ``top_k`` may be left out or null; ``"10"`` and ``10.0`` are 10. The
same as JSON text, as bytes, or alone in a list is understood too. A user id is text, compared as it is; an
integer is taken as its decimal text. An empty user id is an error: the extraction leaves it out as well.

Answer: ``{"user_id", "recommendations": [{"product_id", "rating"}], "count", "message", "model_version",
"digest"}``, best first. Who is not in the model gets the list for new users; an id of more than 1,024
characters is in no model, and its answer has null instead. A request that cannot be understood gets
``{"error": {"code", "message"}, "recommendations": [], "count": 0, "message", "model_version", "digest"}``.
Two to a hundred requests in a list get a list of answers, in their order. No request makes `predict` raise; a model
that cannot be read does: OCI counts a server error.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import pickle
import sqlite3
import struct
import threading
from contextlib import closing
from functools import cache
from pathlib import Path
from typing import Any, NoReturn

FOLDER = Path(__file__).absolute().parent
FORMAT = 1  # of the files beside this one; the manifest must say the same
MANIFEST = "manifest.json"
DATABASE = "recommendations.sqlite"
FALLBACK = "new_user_fallback.pkl"
WRAPPINGS = 8  # text in bytes in a list and so on: more than a client ever needs, and an end for cycles
MOST_REQUESTS = 100  # in a list
LONGEST_ID = 1024  # characters; the extraction refuses longer ones
LONGEST_NUMBER = 18  # digits of a top_k in text
# What reading a crafted pickle raises.
UNREADABLE = (pickle.UnpicklingError, EOFError, LookupError, TypeError, ValueError, AttributeError, ArithmeticError)

FOUND = "Recommendations for known user"
NEW_USER = "Recommendations for new user (popular items)"
NOTHING_LEFT = "No recommendations: the user has rated every item"

# The schema. A view or a generated column instead could compute forever, or fill the memory.
TABLES = {
    ("CREATE TABLE lists (user_id TEXT PRIMARY KEY, positions BLOB NOT NULL, ratings BLOB NOT NULL) WITHOUT ROWID",),
    ("CREATE TABLE products (position INTEGER PRIMARY KEY, product_id TEXT NOT NULL)",),
}


class ArtifactError(Exception):
    """The files beside ``score.py`` are not a whole artifact."""


class MalformedRequestError(Exception):
    """A request that cannot be understood: a code for programs, and a message that repeats nothing of the request."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class Model:
    """One verified artifact: ``release`` is what every answer says about it, ``top_k`` the length of its lists."""

    def __init__(self, folder: Path) -> None:
        facts, digest = _verify(folder)
        self.release = {"model_version": facts["version"], "digest": digest}
        self.top_k: int = facts["top_k"]
        self._fallback = _read_fallback(folder / FALLBACK)
        self._database = Database(folder / DATABASE)
        self._products = self._database.read_products()

    def recommend(self, user_id: str, top_k: int) -> tuple[list[dict[str, Any]], str]:
        """Return the first ``top_k`` recommendations of a user, and what kind of list it is."""
        row = self._database.find(user_id)
        if row is None:
            return [dict(recommendation) for recommendation in self._fallback[:top_k]], NEW_USER
        ranked, ratings = row
        size = len(ratings) // 8
        positions = struct.unpack(f"<{size}I", ranked)[:top_k]
        pairs = zip(positions, struct.unpack(f"<{size}d", ratings))  # noqa: B905 - strict= needs Python 3.10
        products = self._products
        found = [{"product_id": products[position], "rating": rating} for position, rating in pairs]
        return found, FOUND if size else NOTHING_LEFT


class Database(threading.local):
    """Read-only access to the lists: one connection per thread and process, it may cross neither."""

    def __init__(self, path: Path) -> None:
        self.path = path
        # A parent's connection stays referenced after a fork: closing it in the child is not safe.
        self.connections: dict[int, sqlite3.Connection] = {}

    def read_products(self) -> list[str]:
        """Return the product ids by their position in the lists."""
        try:
            with closing(self._open()) as connection:
                if set(connection.execute("SELECT substr(sql, 1, 200) FROM sqlite_master LIMIT 3")) != TABLES:
                    raise ArtifactError(f"{self.path.name} has other tables than an artifact's")
                return [row[0] for row in connection.execute("SELECT product_id FROM products ORDER BY position")]
        except sqlite3.Error as err:
            raise ArtifactError(f"{self.path.name} cannot be read: {err}") from err

    def find(self, user_id: str) -> tuple[bytes, bytes] | None:
        """Return positions and ratings of a user, packed; None for a user who is not in the model."""
        connection = self.connections.get(os.getpid())
        if connection is None:
            connection = self.connections[os.getpid()] = self._open()
        found = connection.execute("SELECT positions, ratings FROM lists WHERE user_id = ?", (user_id,))
        row: tuple[bytes, bytes] | None = found.fetchone()
        return row

    def _open(self) -> sqlite3.Connection:
        # Immutable: no lock, no journal, nothing written beside the file. Without mmap, so that a damaged
        # file is an error and not the end of the process.
        connection = sqlite3.connect(self.path.as_uri() + "?mode=ro&immutable=1", uri=True)
        try:
            connection.execute("PRAGMA cache_size = -1024")  # KiB, for each thread
            connection.execute("PRAGMA trusted_schema = OFF")
        except sqlite3.Error:
            connection.close()
            raise
        return connection


class PlainUnpickler(pickle.Unpickler):
    """Reads lists, strings and numbers; refuses everything that could run code."""

    def find_class(self, module: str, name: str) -> NoReturn:
        """Refuse every class and function: always raises ArtifactError."""
        raise ArtifactError(f"{FALLBACK} names {module}.{name}: only lists, strings and numbers are read")


def _verify(folder: Path) -> tuple[dict[str, Any], str]:
    """Return the manifest and its sha256, once every file in it has been found unchanged."""
    try:
        content = (folder / MANIFEST).read_bytes()
        facts: Any = json.loads(content)
    except (OSError, ValueError, RecursionError) as err:
        raise ArtifactError(f"{folder / MANIFEST} cannot be read: {err}") from err
    if not isinstance(facts, dict) or facts.get("format") != FORMAT:
        raise ArtifactError(f"{MANIFEST} is not of format {FORMAT}, the one that this score.py reads")
    files: Any = facts.get("files")
    missing = {DATABASE, FALLBACK}.difference(files if isinstance(files, dict) else ())
    if missing:
        raise ArtifactError(f"{MANIFEST} does not list {' and '.join(sorted(missing))}")
    if any(type(facts.get(name)) is not int or facts[name] < 1 for name in ("version", "top_k")):
        raise ArtifactError(f"{MANIFEST} does not give version and top_k as numbers of at least 1")
    for name, expected in files.items():
        if name.startswith("/") or ".." in name.split("/"):
            raise ArtifactError(f"{MANIFEST} names {name!r}, which is not a file of the artifact")
        found = _sha256(folder / name)
        if found != expected:
            raise ArtifactError(f"{name} has the sha256 {found}, {MANIFEST} says {expected}")
    return facts, hashlib.sha256(content).hexdigest()


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    try:
        if path.exists() and not path.is_file():
            raise OSError("it is not a file")
        with path.open("rb") as stream:
            while chunk := stream.read(1 << 20):
                digest.update(chunk)
    except (OSError, ValueError) as err:
        raise ArtifactError(f"{path.name:.200} cannot be read: {err!s:.200}") from err
    return digest.hexdigest()


def _read_fallback(path: Path) -> list[dict[str, Any]]:
    """Return the ranked list for users who are not in the model."""
    try:
        with path.open("rb") as stream:
            ranked = [(product, rating) for product, rating in PlainUnpickler(stream).load()]
        for product, rating in ranked:
            if type(product) is not str or type(rating) not in (int, float) or not math.isfinite(rating):
                raise TypeError("it holds something else than product ids and finite ratings")
            product.encode()  # no server could send half a surrogate pair
    except (*UNREADABLE, MemoryError, RecursionError) as err:
        raise ArtifactError(f"{path.name} is not a list of products and ratings: {err!r:.200}") from err
    return [{"product_id": product, "rating": rating} for product, rating in ranked]


def _parse(data: Any) -> tuple[str, int | None]:
    """Return user id and top_k of a request; raises MalformedRequestError if it cannot be understood."""
    request = _unwrap(data)
    if not isinstance(request, dict):
        raise MalformedRequestError("MalformedRequest", "A list of requests may not be in another one.")
    if "user_id" not in request:
        raise MalformedRequestError("MissingUserId", 'The request has no "user_id".')
    return _text(request["user_id"]), _number(request.get("top_k"))


def _unwrap(data: Any) -> dict[str, Any] | list[Any]:
    """Return the request's object out of JSON text, bytes and lists; a list if it has more than one element."""
    for _ in range(WRAPPINGS):
        if isinstance(data, dict):
            return data
        if isinstance(data, list):
            if not data:
                raise MalformedRequestError("MalformedRequest", "The list holds no request.")
            if len(data) > 1:
                return data
            data = data[0]
        elif isinstance(data, (str, bytes, bytearray)):
            try:
                data = json.loads(data)
            except (ValueError, RecursionError):
                raise MalformedRequestError("MalformedJson", "The request is not readable JSON.") from None
        else:
            break
    raise MalformedRequestError(
        "MalformedRequest", 'The request must be an object such as {"user_id": "42", "top_k": 10}.'
    )


def _number(top_k: Any) -> int | None:
    """Return a number of recommendations: a whole number, also as text or as a float; None for the default."""
    if top_k is None:
        return None
    if type(top_k) is float and top_k.is_integer():
        top_k = int(top_k)
    if type(top_k) is str and top_k.isascii() and top_k.isdigit() and len(top_k) <= LONGEST_NUMBER:
        top_k = int(top_k)
    if type(top_k) is not int or top_k < 1:
        raise MalformedRequestError("InvalidTopK", '"top_k" must be a whole number of at least 1.')
    return top_k


def _text(user_id: Any) -> str:
    """Return a user id as text: text itself, or an integer's decimal digits."""
    if type(user_id) not in (str, int):
        raise MalformedRequestError("InvalidUserId", '"user_id" must be text or a whole number.')
    try:
        text = str(user_id)  # Python refuses integers of thousands of digits
        text.encode()  # half a surrogate pair is in no model, and no server could send it back
    except ValueError:
        raise MalformedRequestError("InvalidUserId", '"user_id" is not text that can be stored.') from None
    if not text:
        raise MalformedRequestError("InvalidUserId", '"user_id" is empty.')
    return text


# Last in the file, because the default of `model` needs everything above.


@cache
def load_model(folder: Path = FOLDER) -> Model:
    """Verify the artifact in ``folder`` and open it; a second call returns the same model.

    Raises:
        ArtifactError: a file is missing, is not the one in the manifest, or cannot be used.
    """
    return Model(Path(folder))


def predict(data: Any, model: Model = load_model()) -> dict[str, Any] | list[dict[str, Any]]:  # noqa: B008 - a damaged artifact fails at import
    """Return the answer to one request, or to each in a list; see the top of this file.

    Raises:
        sqlite3.Error, struct.error, IndexError: the model's database is gone or damaged.
    """
    try:
        requests = _unwrap(data)
        if isinstance(requests, list) and len(requests) > MOST_REQUESTS:
            raise MalformedRequestError("TooManyRequests", f"A list may have at most {MOST_REQUESTS} requests.")
    except MalformedRequestError as err:
        return _refuse(err, model)
    return [_answer(request, model) for request in requests] if isinstance(requests, list) else _answer(requests, model)


def _answer(data: Any, model: Model) -> dict[str, Any]:
    try:
        user_id, top_k = _parse(data)
    except MalformedRequestError as err:
        return _refuse(err, model)
    is_too_long = len(user_id) > LONGEST_ID
    length = model.top_k if top_k is None else top_k
    recommendations, message = model.recommend("" if is_too_long else user_id, length)
    return {
        "user_id": None if is_too_long else user_id,
        "recommendations": recommendations,
        "count": len(recommendations),
        "message": message,
        **model.release,
    }


def _refuse(err: MalformedRequestError, model: Model) -> dict[str, Any]:
    error = {"code": err.code, "message": str(err)}
    return {"error": error, "recommendations": [], "count": 0, "message": str(err), **model.release}
