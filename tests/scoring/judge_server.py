"""A judge on this machine: an HTTP server with the chat completions of OpenAI's protocol."""

import json
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer


class Server:
    """Replies in turn, the last for ever: a text, a function of the request, an HTTP code, or a raw body in bytes."""

    def __init__(self):
        self.replies, self.requests, self.headers = ["3"], [], []
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                server.requests.append(json.loads(body) | {"path": self.path})
                server.headers.append(dict(self.headers))
                reply = server.replies.pop(0) if len(server.replies) > 1 else server.replies[0]
                if callable(reply):
                    reply = reply(server.requests[-1])
                message = {"choices": [{"message": {"role": "assistant", "content": reply}}]}
                self.send_response(reply if isinstance(reply, int) else 200)
                self.end_headers()
                self.wfile.write(reply if isinstance(reply, bytes) else json.dumps(message).encode())

            def log_message(self, *_):
                pass

        self.http = HTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.http.serve_forever, args=(0.02,), daemon=True).start()

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.http.server_port}/v1"
