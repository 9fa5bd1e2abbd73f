<?php
// Checks a player's token. Usage: verify.php URL KEY_ID TOKEN   (the secret in the environment: SEAWALL_SECRET)
[, $url, $keyId, $token] = $argv;
$secret = getenv('SEAWALL_SECRET');
$path = '/server/v1/sessions/verify';
$body = json_encode(['token' => $token]);
$timestamp = (string) time();
$nonce = bin2hex(random_bytes(12));
$signed = implode("\n", ['POST', $path, $timestamp, $nonce, hash('sha256', $body)]);
$signature = hash_hmac('sha256', $signed, $secret);
$answer = file_get_contents($url . $path, false, stream_context_create(['http' => [
    'method' => 'POST',
    'content' => $body,
    'ignore_errors' => true, // 4xx and 503 have a body too
    'timeout' => 5,
    'header' => "Content-Type: application/json\r\nSeawall-Key-Id: $keyId\r\nSeawall-Timestamp: $timestamp\r\n"
        . "Seawall-Nonce: $nonce\r\nSeawall-Signature: $signature\r\n",
]]));
echo $answer, "\n";
