"""What becomes of an HTTP connection when both sides have agreed on something else: WebSockets and tunnels."""

import base64
import hashlib
import socket
import threading

# RFC 6455: what proves that a server knows what it agrees to.
WEBSOCKET = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
TEXT, CLOSE = 0x1, 0x8


def accepts(key):
    """The answer to `sec-websocket-key`."""
    return base64.b64encode(hashlib.sha1(key.encode() + WEBSOCKET).digest()).decode()


def chat(reads, writes, name):
    """Answer every short text of a WebSocket with the same text and a name, until the client closes it."""
    while head := reads.read(2):
        mask, said = reads.read(4), reads.read(head[1] & 0x7F)
        if head[0] & 0xF == CLOSE:
            return
        plain = bytes(byte ^ mask[at % 4] for at, byte in enumerate(said))
        answer = f"{name}: ".encode() + plain
        writes.write(bytes((0x80 | TEXT, len(answer))) + answer)
        writes.flush()


def tunnel(client, address):
    """Carry bytes both ways between a client and an address, until both have ended."""
    with socket.create_connection(address, timeout=10) as server:
        server.settimeout(None)
        client.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        there = threading.Thread(target=carry, args=(client, server), daemon=True)
        there.start()
        carry(server, client)
        there.join()


def carry(source, target):
    try:
        while data := source.recv(65536):
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)
    except OSError:
        pass  # the other one is gone
