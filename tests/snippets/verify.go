// Checks a player's token. Usage: go run verify.go URL KEY_ID TOKEN   (the secret in the environment: SEAWALL_SECRET)
package main

import (
	"bytes"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"
)

func main() {
	url, keyID, token, secret := os.Args[1], os.Args[2], os.Args[3], os.Getenv("SEAWALL_SECRET")
	path := "/server/v1/sessions/verify"
	body, _ := json.Marshal(map[string]string{"token": token})
	timestamp := strconv.FormatInt(time.Now().Unix(), 10)
	random := make([]byte, 12)
	rand.Read(random)
	nonce := hex.EncodeToString(random)
	bodyHash := sha256.Sum256(body)
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write([]byte(strings.Join([]string{"POST", path, timestamp, nonce, hex.EncodeToString(bodyHash[:])}, "\n")))
	request, _ := http.NewRequest("POST", url+path, bytes.NewReader(body))
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("Seawall-Key-Id", keyID)
	request.Header.Set("Seawall-Timestamp", timestamp)
	request.Header.Set("Seawall-Nonce", nonce)
	request.Header.Set("Seawall-Signature", hex.EncodeToString(mac.Sum(nil)))
	client := http.Client{Timeout: 5 * time.Second}
	answer, err := client.Do(request)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	defer answer.Body.Close()
	text, _ := io.ReadAll(answer.Body)
	fmt.Println(string(text))
}
